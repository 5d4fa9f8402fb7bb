/** The paths under which a node's trees are exported over NFS. */
export function rootExport(node: string): string {
  return `/bramble/${node}/root`;
}

export function bootExport(node: string): string {
  return `/bramble/${node}/boot`;
}
