// Many DHCP clients in one, some at a time: each broadcasts DISCOVER and REQUEST until it has an address, and prints
// "MAC ADDRESS" then.
// Their MACs are far apart, so that a server which chooses by MAC alone would choose some addresses twice.
//   usage: node dhcp-joiners.mjs FIRST COUNT WITHIN_MS
import dgram from "node:dgram";

const [first, count, withinMs] = process.argv.slice(2).map(Number);
const RETRY_MS = 600;
const AT_ONCE = 20;
const socket = dgram.createSocket("udp4");
const clients = new Map();

function packet(client, type, options) {
  const bytes = Buffer.alloc(300);
  bytes.set([1, 1, 6, 0]);
  bytes.writeUInt32BE(client.id, 4);
  bytes.writeUInt16BE(0x8000, 10);
  bytes.set([2, 0], 28);
  bytes.writeUInt32BE(Math.imul(client.id, 0x9e3779b1) >>> 0, 30);
  bytes.writeUInt32BE(0x63825363, 236);
  bytes.set([53, 1, type, ...options, 255], 240);
  return bytes;
}

function ask(client) {
  if (client.address) return;
  const wanted = client.offer && client.tries++ < 3;
  if (!wanted) [client.offer, client.tries] = [undefined, 0];
  const request = wanted ? packet(client, 3, [50, 4, ...client.offer, 54, 4, ...client.server]) : packet(client, 1, []);
  socket.send(request, 67, "255.255.255.255", () => {});
}

function optionOf(bytes, wanted) {
  for (let at = 240; at < bytes.length && bytes[at] !== 255; at += bytes[at] === 0 ? 1 : 2 + bytes[at + 1]) {
    if (bytes[at] === wanted) return bytes.subarray(at + 2, at + 2 + bytes[at + 1]);
  }
}

function startNext() {
  if (clients.size === count) return;
  const client = { id: first + clients.size, tries: 0 };
  clients.set(client.id, client);
  ask(client);
  client.timer = setInterval(() => ask(client), RETRY_MS);
}

socket.on("message", (bytes) => {
  const client = clients.get(bytes.readUInt32BE(4));
  if (!client || client.address) return;
  const type = optionOf(bytes, 53)?.[0];
  const given = bytes.subarray(16, 20);
  if (type === 2 && !client.offer) {
    [client.offer, client.server] = [Buffer.from(given), Buffer.from(optionOf(bytes, 54))];
    ask(client);
  } else if (type === 5) {
    client.address = given.join(".");
    console.log(
      `${Array.from(bytes.subarray(28, 34), (byte) => byte.toString(16).padStart(2, "0")).join(":")} ${client.address}`,
    );
    clearInterval(client.timer);
    startNext();
    if ([...clients.values()].filter((each) => each.address).length === count) socket.close();
  } else if (type === 6) client.offer = undefined;
});

socket.bind(68, "0.0.0.0", () => {
  socket.setBroadcast(true);
  for (let started = 0; started < AT_ONCE; started++) startNext();
});
socket.on("close", () => process.exit());
setTimeout(() => process.exit(), withinMs);
