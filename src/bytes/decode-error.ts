/**
 * The only error that bytes from outside (network, image file) may cause.
 *
 * `format` names what was being read ("dhcp packet", "ext4 inode 12"), `where` the field or byte offset,
 * `why` what was found and what was expected.
 */
export class DecodeError extends Error {
  readonly format: string;
  readonly where: string;
  readonly why: string;

  constructor(format: string, where: string, why: string) {
    super(`Cannot read ${format} at ${where}: ${why}`);
    this.name = "DecodeError";
    this.format = format;
    this.where = where;
    this.why = why;
  }
}
