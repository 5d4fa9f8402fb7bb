import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { parseIpv4 } from "../bytes/addresses.ts";
import { NFS_CONNECTIONS_WAITING_MAX } from "../limits.ts";
import { type AcceptedConnection, listenTcp } from "../system/tcp.ts";
import { FrontDoor } from "./front-door.ts";

const ADDRESS = parseIpv4("127.0.0.1");
const ANY_PORTS = { nfs: 0, mount: 0 };
const closers: (() => unknown)[] = [];

afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

async function openDoor(): Promise<FrontDoor> {
  const door = await FrontDoor.open([{ address: ADDRESS }], ANY_PORTS);
  closers.push(() => door.close());
  return door;
}

async function client(door: FrontDoor): Promise<Socket> {
  const socket = connect(door.localPorts[0]!, ADDRESS);
  closers.push(() => socket.destroy());
  socket.on("error", () => {});
  await once(socket, "connect");
  return socket;
}

/** Says to each who he is, and what he had said. */
const serve = (accepted: AcceptedConnection) => {
  const connection = accepted.open();
  connection.onData((bytes) => connection.write(Buffer.from(`served ${Buffer.from(bytes)}`)));
};

describe("the front door", () => {
  it("lets those wait who come before they can be served, and loses nothing that they say", async () => {
    const door = await openDoor();
    const [first, second] = [await client(door), await client(door)];
    first.write("one");
    second.write("two");
    const heard: string[] = [];
    for (const socket of [first, second]) socket.on("data", (bytes) => heard.push(`${bytes}`));
    // Nobody may be answered before there is somebody who knows whose the connection is.
    await new Promise((done) => setTimeout(done, 50));
    expect(heard).toEqual([]);
    door.serve(serve);
    await expect.poll(() => heard.toSorted()).toEqual(["served one", "served two"]);
    const later = await client(door);
    later.write("three");
    const [answer] = await once(later, "data");
    expect(`${answer}`).toBe("served three");
  });

  it("serves those first who came first, and sends away the oldest of too many", async () => {
    const door = await openDoor();
    const ports: number[] = [];
    let gone = 0;
    for (let count = 0; count <= NFS_CONNECTIONS_WAITING_MAX; count++) {
      const socket = await client(door);
      ports.push(socket.localPort!);
      socket.once("close", () => gone++).resume();
    }
    await expect.poll(() => gone).toBe(1);
    const served: number[] = [];
    door.serve(({ remote }) => served.push(remote.port));
    expect(served).toEqual(ports.slice(1));
  });

  it("sends those away who wait when it closes, and takes nobody after", async () => {
    const door = await openDoor();
    const [port] = door.localPorts;
    const socket = await client(door);
    const gone = once(socket.resume(), "close");
    await door.close();
    await gone;
    await door.close();
    const late = connect(port!, ADDRESS);
    const [error] = await once(late, "error");
    expect(error.code).toBe("ECONNREFUSED");
  });

  it("leaves no port open when it cannot have all", async () => {
    const taken = await listenTcp({ address: ADDRESS, port: 0 }, (accepted) => accepted.close());
    closers.push(() => taken.close());
    const free = await listenTcp({ address: ADDRESS, port: 0 }, (accepted) => accepted.close());
    const ports = { nfs: free.localPort, mount: taken.localPort };
    await free.close();
    await expect(FrontDoor.open([{ address: ADDRESS }], ports)).rejects.toThrow(
      /^Cannot use TCP port \d+ of 127\.0\.0\.1/,
    );
    const again = await listenTcp({ address: ADDRESS, port: ports.nfs }, (accepted) => accepted.close());
    await again.close();
  });
});
