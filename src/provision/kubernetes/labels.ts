/** Labels of nodes in Kubernetes's form. Document: Kubernetes, "Labels and Selectors", syntax and character set. */

/** Before the slash of names that are Bramble's. */
export const LABEL_PREFIX = "bramble/";
export const MODEL_LABEL = `${LABEL_PREFIX}model`;

export interface NodeFacts {
  model?: string;
  serial?: string;
  memoryMiB?: number;
  role?: string;
}

export function kubernetesLabels({ model, serial, memoryMiB, role }: NodeFacts): Record<string, string> {
  const facts = { model, serial, memory: memoryMiB === undefined ? undefined : `${memoryMiB}MiB`, role };
  return Object.fromEntries(
    Object.entries(facts).flatMap(([name, value]) =>
      value === undefined || labelValue(value) === "" ? [] : [[LABEL_PREFIX + name, labelValue(value)]],
    ),
  );
}

/** Letters, digits, and `-`, `_`, `.` between them, 63 at most: `3b+` becomes `3b-plus`. */
export function labelValue(text: string): string {
  return text
    .replaceAll("+", "-plus")
    .replace(/[^A-Za-z0-9_.-]+/g, "-")
    .slice(0, 63)
    .replace(/^[^A-Za-z0-9]+|[^A-Za-z0-9]+$/g, "");
}
