/** Types on the serial console of a virtual Pi, as a person would, for nodes that have no SSH. */
import { connect, type Socket } from "node:net";
import { join } from "node:path";

const LINE_TIMEOUT_MS = 60_000;

export class Console {
  readonly #socket: Socket;
  #text = "";
  #onText = () => {};

  /** `folder` is the state folder of the simulation. */
  constructor(folder: string, node: string) {
    this.#socket = connect(join(folder, "console", `${node}.sock`));
    this.#socket.setEncoding("utf8").on("data", (text: string) => {
      this.#text += text;
      this.#onText();
    });
  }

  /** Logs in on a console that shows a prompt for it. */
  async login(user: string): Promise<void> {
    await this.#answer("\n", /login: $/);
    // busybox asks the terminal where the cursor is, and goes on without an answer.
    await this.#answer(`${user}\n`, /# (.\[6n)?$/);
  }

  /** What a command prints. */
  async run(command: string): Promise<string> {
    // In two words, so that the echo of what is typed is not taken for the answer.
    const text = await this.#answer(`echo "the""start"; ${command}; echo "the""end"\n`, /theend\r?\n/);
    const lines = text.replaceAll("\r", "").split("\n");
    return lines.slice(lines.lastIndexOf("thestart") + 1, lines.lastIndexOf("theend")).join("\n");
  }

  close(): void {
    this.#socket.destroy();
  }

  #answer(typed: string, end: RegExp): Promise<string> {
    this.#text = "";
    this.#socket.write(typed);
    return new Promise((resolve, reject) => {
      const finish = (act: () => void) => {
        clearTimeout(timer);
        this.#onText = () => {};
        act();
      };
      const timer = setTimeout(
        () => finish(() => reject(new Error(`The console did not answer ${typed.trim()}: ${this.#text}`))),
        LINE_TIMEOUT_MS,
      );
      this.#onText = () => end.test(this.#text) && finish(() => resolve(this.#text));
    });
  }
}
