/** What secrets of orchestrators look like, wherever they turn up: in words of a program that failed, in a bug report. */
export const SECRET_FORMS: readonly RegExp[] = [
  // Docker Swarm's join tokens and its unlock key
  /\bSWM(?:TKN|KEY)-[A-Za-z0-9+/-]+/g,
  // k3s
  /\bK10[0-9a-f]{16,}(?:::\S+)?/g,
  // bootstrap tokens of Kubernetes
  /\b[a-z0-9]{6}\.[a-z0-9]{16}\b/g,
];

export function withoutSecrets(text: string): string {
  return SECRET_FORMS.reduce((rest, form) => rest.replace(form, "[redacted]"), text);
}
