export type DeviceTreeNode = { name: string; properties?: Record<string, string>; nodes?: DeviceTreeNode[] };

/** A tree of version 17, as dtc lays one out. */
export function encodeDeviceTree(root: DeviceTreeNode): Uint8Array {
  const names: string[] = [];
  const cell = (value: number) => {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32BE(value);
    return bytes;
  };
  const padded = (value: string) => {
    const bytes = Buffer.from(`${value}\0`, "latin1");
    return Buffer.concat([bytes, Buffer.alloc(-bytes.length & 3)]);
  };
  const offsetOf = (name: string) => {
    if (!names.includes(name)) names.push(name);
    return names.slice(0, names.indexOf(name)).join("\0").length + (names[0] === name ? 0 : 1);
  };
  const encode = ({ name, properties = {}, nodes = [] }: DeviceTreeNode): Buffer => {
    const own = Object.entries(properties).flatMap(([key, value]) => {
      return [cell(3), cell(value.length + 1), cell(offsetOf(key)), padded(value)];
    });
    return Buffer.concat([cell(1), padded(name), ...own, cell(4), ...nodes.map(encode), cell(2)]);
  };
  const structure = Buffer.concat([encode(root), cell(9)]);
  const strings = Buffer.from(`${names.join("\0")}\0`, "latin1");
  const headerBytes = 40 + 16;
  const header = [0xd00dfeed, headerBytes + structure.length + strings.length, headerBytes];
  header.push(headerBytes + structure.length, 40, 17, 16, 0, strings.length, structure.length);
  return Buffer.concat([...header.map(cell), Buffer.alloc(16), structure, strings]);
}
