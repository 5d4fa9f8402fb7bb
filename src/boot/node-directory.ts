/**
 * Who is who on the network: from a MAC, a serial or an address to the node of the manifest.
 *
 * Addresses are learned, because in proxy mode the router gives them and Linux may get another one than the
 * bootloader did. What is known by MAC (our lease, a DHCP broadcast, the kernel's neighbour table) outranks what
 * is known by serial prefix only (a TFTP path), since anybody can ask for any path.
 */
import type { Ipv4, Mac } from "../bytes/addresses.ts";
import { serialTailFromMac } from "../pi/oui.ts";

export interface NodeIdentity {
  name: string;
  mac?: Mac;
  /** Eight lower-case hex digits. */
  serial?: string;
  /** Set in the manifest. */
  address?: Ipv4;
}

/** What was seen of nodes that the manifest names by serial only: their MACs, by serial. A `Map` will do. */
export interface MacMemory {
  get(serial: string): Mac | undefined;
  set(serial: string, mac: Mac): void;
}

export type AddressEvidence = "serial" | "mac" | "manifest";

const EVIDENCE_RANK: Record<AddressEvidence, number> = { serial: 0, mac: 1, manifest: 2 };

export class NodeDirectory {
  #nodes: readonly NodeIdentity[] = [];
  readonly #byMac = new Map<Mac, NodeIdentity>();
  readonly #bySerial = new Map<string, NodeIdentity>();
  readonly #byAddress = new Map<Ipv4, { node: NodeIdentity; evidence: AddressEvidence }>();
  readonly #macMemory: MacMemory;
  /** Hears of each address that has another owner than before. One listener. */
  onOwnerChange: (address: Ipv4, owner: string | undefined) => void = () => {};

  constructor(nodes: readonly NodeIdentity[], macMemory: MacMemory = new Map<string, Mac>()) {
    this.#macMemory = macMemory;
    this.setNodes(nodes);
  }

  get nodes(): readonly NodeIdentity[] {
    return this.#nodes;
  }

  /** Takes a new manifest. What was learned about nodes that remain is kept. */
  setNodes(nodes: readonly NodeIdentity[]): void {
    const before = new Map(Array.from(this.#byAddress, ([address, { node }]) => [address, node.name]));
    this.#takeNodes(nodes);
    for (const address of new Set([...before.keys(), ...this.#byAddress.keys()])) {
      const owner = this.ownerOf(address);
      if (owner !== before.get(address)) this.onOwnerChange(address, owner);
    }
  }

  /** Takes a manifest that has this node more than the one before, without looking at the others. */
  addNode(nodes: readonly NodeIdentity[], node: NodeIdentity): void {
    this.#nodes = nodes;
    const before = node.address && this.ownerOf(node.address);
    this.#takeNode(node);
    if (node.address && before !== node.name) this.onOwnerChange(node.address, node.name);
  }

  #takeNodes(nodes: readonly NodeIdentity[]): void {
    this.#nodes = nodes;
    this.#byMac.clear();
    this.#bySerial.clear();
    const byName = new Map(nodes.map((node) => [node.name, node]));
    for (const [address, known] of this.#byAddress) {
      const node = byName.get(known.node.name);
      const isGone = node === undefined || known.evidence === "manifest" || !this.#isSameBoard(known.node, node);
      if (isGone) this.#byAddress.delete(address);
      else known.node = node;
    }
    for (const node of nodes) this.#takeNode(node);
  }

  /** False for a board that was replaced: the address that the old one had says nothing about the new one. */
  #isSameBoard(before: NodeIdentity, now: NodeIdentity): boolean {
    const [macBefore, macNow] = [this.macOf(before), this.macOf(now)];
    if (macBefore && macNow) return macBefore === macNow;
    return before.serial === undefined || now.serial === undefined || before.serial === now.serial;
  }

  #takeNode(node: NodeIdentity): void {
    const mac = this.macOf(node);
    if (mac) this.#byMac.set(mac, node);
    if (node.serial) this.#bySerial.set(node.serial, node);
    if (node.address) this.#byAddress.set(node.address, { node, evidence: "manifest" });
  }

  byName(name: string): NodeIdentity | undefined {
    return this.#nodes.find((node) => node.name === name);
  }

  byMac(mac: Mac): NodeIdentity | undefined {
    return this.#byMac.get(mac);
  }

  bySerial(serial: string): NodeIdentity | undefined {
    return this.#bySerial.get(serial);
  }

  byAddress(address: Ipv4): NodeIdentity | undefined {
    return this.#byAddress.get(address)?.node;
  }

  /** The name of the node whose address it is. */
  ownerOf(address: Ipv4): string | undefined {
    return this.#byAddress.get(address)?.node.name;
  }

  /** Every address that is somebody's, with the name of its node. */
  *owners(): Generator<[Ipv4, string]> {
    for (const [address, { node }] of this.#byAddress) yield [address, node.name];
  }

  /** The MAC of a node, from the manifest or seen. */
  macOf(node: NodeIdentity): Mac | undefined {
    return node.mac ?? (node.serial === undefined ? undefined : this.#macMemory.get(node.serial));
  }

  addressesOf(node: NodeIdentity): Ipv4[] {
    return [...this.#byAddress].filter(([, known]) => known.node.name === node.name).map(([address]) => address);
  }

  /**
   * The node that a DHCP client is. A MAC in the manifest decides; otherwise the serial of option 97 does, and the
   * MAC is remembered for the requests that carry no serial (Linux's own DHCP client).
   */
  identify(mac: Mac, serial: string | undefined): NodeIdentity | undefined {
    const found = this.find(mac, serial);
    if (found?.serial === undefined || this.#byMac.has(mac)) return found;
    this.#macMemory.set(found.serial, mac);
    this.#byMac.set(mac, found);
    return found;
  }

  /** The same, and nothing is remembered. */
  find(mac: Mac, serial: string | undefined): NodeIdentity | undefined {
    const byMac = this.#byMac.get(mac);
    if (byMac) return byMac;
    const bySerial = serial === undefined ? this.#bySerialTail(mac) : this.#bySerial.get(serial);
    // A node that the manifest pins to another MAC is not this machine, whatever serial it claims.
    return bySerial?.mac === undefined ? bySerial : undefined;
  }

  /** A 3B's ROM tells no serial, but the MAC of boards up to the 3B+ holds most of it. */
  #bySerialTail(mac: Mac): NodeIdentity | undefined {
    const tail = serialTailFromMac(mac);
    return tail === undefined ? undefined : this.#nodes.find((node) => node.serial?.endsWith(tail));
  }

  /** Notes that an address belongs to a node; weaker evidence never displaces stronger. */
  learnAddress(address: Ipv4, node: NodeIdentity, evidence: AddressEvidence): void {
    const known = this.#byAddress.get(address);
    if (known && EVIDENCE_RANK[known.evidence] > EVIDENCE_RANK[evidence]) return;
    this.#byAddress.set(address, { node, evidence });
    if (known?.node.name !== node.name) this.onOwnerChange(address, node.name);
  }

  /**
   * Takes what the kernel's neighbour table says. An address that a stranger's MAC now holds is forgotten, unless
   * the manifest gives it to a node.
   */
  learnNeighbour(address: Ipv4, mac: Mac): void {
    const node = this.#byMac.get(mac);
    if (node) this.learnAddress(address, node, "mac");
    else if (this.#byAddress.get(address)?.evidence === "mac") {
      this.#byAddress.delete(address);
      this.onOwnerChange(address, undefined);
    }
  }
}
