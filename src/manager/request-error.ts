/** Why the caller cannot have what was asked for, shown to them as it is. `statusCode` is HTTP's. */
export class RequestError extends Error {
  readonly statusCode: number;

  constructor(statusCode: number, message: string) {
    super(message);
    this.name = "RequestError";
    this.statusCode = statusCode;
  }
}
