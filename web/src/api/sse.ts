// Server-sent events out of a stream of text (WHATWG HTML, 9.2.6).
// Rules: a pure fold over pieces of text, cut anywhere. Comments count as a sign of life and are otherwise dropped.

export interface Message {
  readonly event: string;
  readonly data: string;
  /** The last id that was sent, also by an earlier message. */
  readonly id: string;
}

export class Parser {
  #rest = "";
  #event = "";
  #data: string[] = [];
  #id = "";

  constructor(id = "") {
    this.#id = id;
  }

  /** The messages that are complete with this piece. */
  feed(piece: string): Message[] {
    const found: Message[] = [];
    const lines = (this.#rest + piece).split("\n");
    this.#rest = lines.pop() ?? "";
    for (const line of lines) {
      const message = this.#line(line.endsWith("\r") ? line.slice(0, -1) : line);
      if (message) found.push(message);
    }
    return found;
  }

  #line(line: string): Message | null {
    if (line === "") return this.#complete();
    const colon = line.indexOf(":");
    if (colon === 0) return null;
    const field = colon < 0 ? line : line.slice(0, colon);
    const raw = colon < 0 ? "" : line.slice(colon + 1);
    const value = raw.startsWith(" ") ? raw.slice(1) : raw;
    if (field === "event") this.#event = value;
    else if (field === "data") this.#data.push(value);
    else if (field === "id" && !value.includes("\0")) this.#id = value;
    return null;
  }

  #complete(): Message | null {
    const message = { event: this.#event || "message", data: this.#data.join("\n"), id: this.#id };
    const said = this.#data.length > 0;
    this.#event = "";
    this.#data = [];
    return said ? message : null;
  }
}
