import { describe, expect, it } from "vitest";
import { type Mac, macToBytes } from "../bytes/addresses.ts";
import type { EthernetPort } from "../ports.ts";
import { SharedCard } from "./shared-card.ts";

const OUTSIDE = "02:00:00:00:00:99" as Mac;
const BROADCAST = "ff:ff:ff:ff:ff:ff" as Mac;
const macOf = (number: number) => `02:00:00:00:00:0${number}` as Mac;

function frame(to: Mac, from: Mac, text: string): Uint8Array {
  return Buffer.concat([macToBytes(to), macToBytes(from), Buffer.from([8, 0]), Buffer.from(text)]);
}

function threeBoards() {
  const sent: string[] = [];
  let toUs: (bytes: Uint8Array) => void = () => {};
  let isClosed = false;
  const textOf = (bytes: Uint8Array) => Buffer.from(bytes.subarray(14)).toString();
  const card: EthernetPort = {
    send: (bytes) => void sent.push(textOf(bytes)),
    onFrame: (handler) => {
      toUs = handler;
    },
    close: () => {
      isClosed = true;
    },
  };
  const shared = new SharedCard(card);
  const heard: string[][] = [];
  const ports = [1, 2, 3].map((number, index) => {
    const port = shared.plug();
    heard.push([]);
    port.onFrame((bytes) => heard[index]!.push(textOf(bytes)));
    port.send(frame(OUTSIDE, macOf(number), "hello"));
    return port;
  });
  sent.length = 0;
  return { shared, ports, heard, sent, receive: (bytes: Uint8Array) => toUs(bytes), isClosed: () => isClosed };
}

describe("boards behind one card", () => {
  it("each get what is for them, and all get broadcasts", () => {
    const { heard, receive } = threeBoards();
    receive(frame(macOf(2), OUTSIDE, "for 2"));
    receive(frame(BROADCAST, OUTSIDE, "for all"));
    receive(frame("02:00:00:00:00:55" as Mac, OUTSIDE, "for somebody"));
    receive(new Uint8Array(13));
    expect(heard).toEqual([["for all"], ["for 2", "for all"], ["for all"]]);
  });

  it("hear each other as on a switch: only broadcasts and what is for outside leave the card", () => {
    const { ports, heard, sent } = threeBoards();
    ports[0]!.send(frame(BROADCAST, macOf(1), "from 1 to all"));
    ports[1]!.send(frame(macOf(3), macOf(2), "from 2 to 3"));
    ports[2]!.send(frame(OUTSIDE, macOf(3), "from 3 to outside"));
    expect(heard).toEqual([[], ["from 1 to all"], ["from 1 to all", "from 2 to 3"]]);
    expect(sent).toEqual(["from 1 to all", "from 3 to outside"]);
  });

  it("hear nothing more once unplugged, and the card is closed once for all", async () => {
    const { shared, ports, heard, receive, isClosed } = threeBoards();
    await ports[1]!.close();
    receive(frame(macOf(2), OUTSIDE, "for 2"));
    receive(frame(BROADCAST, OUTSIDE, "for all"));
    expect(heard).toEqual([["for all"], [], ["for all"]]);
    expect(isClosed()).toBe(false);
    await shared.close();
    expect(isClosed()).toBe(true);
  });
});
