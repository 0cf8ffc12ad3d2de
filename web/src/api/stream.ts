// The deck's stream: one connection that brings a snapshot and then what changes.
// Rules: it is always known whether what is shown is live. A connection that says nothing for a while, not even a ping,
// is dead and opened anew, later each time. It resumes where it ended; what cannot be resumed starts with a snapshot.
// Read by fetch and not by EventSource, which hides pings, the reason of a refusal, and how often it tries.

import { API } from "./client.ts";
import { Parser } from "./sse.ts";
import type { Delta, Snapshot } from "./types.ts";

/** A ping comes every 15 s. */
const SILENCE_MS = 40_000;
const NOT_FOUND = 404;
const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 15_000;

export type Link =
  | { readonly state: "connecting" }
  | { readonly state: "live" }
  | { readonly state: "lost"; readonly since: number; readonly why: string; readonly status: number };

export interface Sink {
  snapshot(snapshot: Snapshot): void;
  /** False where it does not fit onto what is there: a new snapshot is asked for. */
  delta(delta: Delta): boolean;
  setLink(link: Link): void;
}

export interface Timer {
  set(act: () => void, ms: number): number;
  clear(timer: number): void;
  now(): number;
}

export const wallTimer: Timer = {
  set: (act, ms) => setTimeout(act, ms) as unknown as number,
  clear: (timer) => clearTimeout(timer),
  now: () => Date.now(),
};

type Fetch = (url: string, init: RequestInit) => Promise<Response>;

export class Stream {
  #sink: Sink;
  #fetch: Fetch;
  #timer: Timer;
  #run: string | null = null;
  #lastId = "";
  #failed = 0;
  #lostAt: number | null = null;
  #connection: AbortController | null = null;
  #watch: number | null = null;
  #again: number | null = null;

  constructor(sink: Sink, fetching: Fetch = (url, init) => fetch(url, init), timer: Timer = wallTimer) {
    this.#sink = sink;
    this.#fetch = fetching;
    this.#timer = timer;
  }

  /** Follow the deck, and of one run its tasks too. */
  open(run: string | null = null): void {
    if (this.#connection && run === this.#run) return;
    this.#run = run;
    this.#lastId = "";
    this.#connect();
  }

  close(): void {
    this.#drop();
  }

  /** Try now and not when the wait is over: the person asked, or the network is back. */
  retry(): void {
    if (this.#again !== null) this.#connect();
  }

  #connect(): void {
    this.#drop();
    const connection = new AbortController();
    this.#connection = connection;
    if (this.#lostAt === null) this.#sink.setLink({ state: "connecting" });
    this.#listen(connection).then(
      (why) => this.#lost(connection, why, 0),
      (error: unknown) =>
        this.#lost(connection, error instanceof Error ? error.message : String(error), statusOf(error)),
    );
  }

  #drop(): void {
    if (this.#watch !== null) this.#timer.clear(this.#watch);
    if (this.#again !== null) this.#timer.clear(this.#again);
    this.#watch = null;
    this.#again = null;
    this.#connection?.abort();
    this.#connection = null;
  }

  async #listen(connection: AbortController): Promise<string> {
    this.#alive(connection);
    const headers: Record<string, string> = { Accept: "text/event-stream" };
    if (this.#lastId) headers["Last-Event-ID"] = this.#lastId;
    const url = `${API}/stream${this.#run ? `?run=${encodeURIComponent(this.#run)}` : ""}`;
    const answer = await this.#fetch(url, {
      headers,
      signal: connection.signal,
      cache: "no-store",
      credentials: "same-origin",
    }).catch(() => {
      // Each browser has words of its own for it, and none of them helps.
      throw new Error("the server does not answer (quarterdeck up starts it)");
    });
    if (!answer.ok || !answer.body) throw new StreamRefused(answer.status);
    const parser = new Parser(this.#lastId);
    const reader = answer.body
      .pipeThrough(new TextDecoderStream() as ReadableWritablePair<string, Uint8Array>)
      .getReader();
    for (;;) {
      const { value, done } = await reader.read();
      if (connection.signal.aborted) return "";
      if (done) return "the server ended the connection";
      this.#alive(connection);
      for (const message of parser.feed(value)) {
        if (!this.#take(message.event, message.data)) {
          this.#lastId = "";
          this.#connect();
          return "";
        }
        this.#lastId = message.id;
      }
    }
  }

  /** False where only a new snapshot helps. */
  #take(event: string, data: string): boolean {
    let fits = true;
    if (event === "snapshot") this.#sink.snapshot(JSON.parse(data) as Snapshot);
    else if (event === "delta") fits = this.#sink.delta(JSON.parse(data) as Delta);
    if (fits) {
      this.#failed = 0;
      this.#lostAt = null;
      this.#sink.setLink({ state: "live" });
    }
    return fits;
  }

  #alive(connection: AbortController): void {
    if (this.#watch !== null) this.#timer.clear(this.#watch);
    this.#watch = this.#timer.set(() => {
      this.#lost(connection, "the connection went silent", 0);
    }, SILENCE_MS);
  }

  #lost(connection: AbortController, why: string, status: number): void {
    if (connection !== this.#connection) return;
    this.#drop();
    if (status === NOT_FOUND && this.#run !== null) {
      // A run that is not there: its screen says so, and everything else goes on.
      this.#run = null;
      this.#connect();
      return;
    }
    this.#lostAt ??= this.#timer.now();
    this.#sink.setLink({ state: "lost", since: this.#lostAt / 1000, why, status });
    const wait = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** this.#failed);
    this.#failed += 1;
    this.#again = this.#timer.set(() => this.#connect(), wait * (0.75 + Math.random() / 2));
  }
}

class StreamRefused extends Error {
  readonly status: number;

  constructor(status: number) {
    super(`the server answered ${status}`);
    this.status = status;
  }
}

const statusOf = (error: unknown): number => (error instanceof StreamRefused ? error.status : 0);
