// Broadcasts DHCP packets (hexadecimal arguments) one after the other from port 68, and prints each answer in
// hexadecimal. With no packet it only listens. `WAIT_MS` is the time for each.
import dgram from "node:dgram";

const waitMs = Number(process.env.WAIT_MS ?? 1000);
const socket = dgram.createSocket("udp4");
socket.on("message", (bytes) => console.log(bytes.toString("hex")));
socket.bind(68, "0.0.0.0", () => {
  socket.setBroadcast(true);
  const packets = process.argv.slice(2);
  const turns = packets.length > 0 ? packets : [undefined];
  turns.forEach((packet, i) => {
    const send = () => packet && socket.send(Buffer.from(packet, "hex"), 67, "255.255.255.255");
    setTimeout(send, i * waitMs);
  });
  setTimeout(() => socket.close(), turns.length * waitMs);
});
