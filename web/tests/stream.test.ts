import assert from "node:assert/strict";
import { test } from "node:test";
import { Parser } from "../src/api/sse.ts";
import { type Link, type Sink, Stream, type Timer } from "../src/api/stream.ts";
import type { Delta, Snapshot } from "../src/api/types.ts";

test("messages come out whole, wherever the text was cut", () => {
  const text =
    'id: 7\nevent: delta\ndata: {"a":\ndata: "ü"}\n\n: ping\n\nid: 8\r\nevent: snapshot\r\ndata:x\r\n\r\ndata: last\n';
  for (let cut = 0; cut <= text.length; cut += 1) {
    const parser = new Parser();
    const found = [...parser.feed(text.slice(0, cut)), ...parser.feed(text.slice(cut))];
    assert.deepEqual(found, [
      { event: "delta", data: '{"a":\n"ü"}', id: "7" },
      { event: "snapshot", data: "x", id: "8" },
    ]);
  }
});

/** A server that is written to by the test, one connection after the other. */
class Server {
  readonly asked: { readonly url: string; readonly last: string | undefined }[] = [];
  #writers: ReadableStreamDefaultController<Uint8Array>[] = [];
  #waiting: (() => void)[] = [];
  status = 200;

  readonly fetch = async (url: string, init: RequestInit): Promise<Response> => {
    const headers = init.headers as Record<string, string>;
    this.asked.push({ url, last: headers["Last-Event-ID"] });
    for (const tell of this.#waiting.splice(0)) tell();
    if (this.status === 0) throw new TypeError("Failed to fetch");
    if (this.status !== 200) return new Response("no", { status: this.status });
    return new Response(new ReadableStream({ start: (writer) => void this.#writers.push(writer) }));
  };

  async connections(n: number): Promise<void> {
    while (this.asked.length < n) await new Promise<void>((go) => this.#waiting.push(go));
  }

  say(event: string, id: number, data: unknown): void {
    const text = `event: ${event}\nid: ${id}\ndata: ${JSON.stringify(data)}\n\n`;
    this.#writers.at(-1)?.enqueue(new TextEncoder().encode(text));
  }

  end(): void {
    this.#writers.at(-1)?.close();
  }
}

/** Time that passes when the test says so. */
class Clock implements Timer {
  readonly pending = new Map<number, { readonly act: () => void; readonly ms: number }>();
  #last = 0;
  #waiting: (() => void)[] = [];

  set(act: () => void, ms: number): number {
    this.#last += 1;
    this.pending.set(this.#last, { act, ms });
    for (const tell of this.#waiting.splice(0)) tell();
    return this.#last;
  }

  clear(timer: number): void {
    this.pending.delete(timer);
  }

  now(): number {
    return 1000;
  }

  /** Let a timer of that length come to its end; wait until there is one. */
  async fire(fits: (ms: number) => boolean): Promise<number> {
    for (;;) {
      for (const [timer, { act, ms }] of this.pending) {
        if (!fits(ms)) continue;
        this.pending.delete(timer);
        act();
        return ms;
      }
      await new Promise<void>((go) => this.#waiting.push(go));
    }
  }
}

class Seen implements Sink {
  readonly said: string[] = [];
  readonly links: Link[] = [];
  fits = true;
  #waiting: (() => void)[] = [];

  snapshot(snapshot: Snapshot): void {
    this.#tell(`snapshot ${snapshot.seq}`);
  }

  delta(delta: Delta): boolean {
    this.#tell(`delta ${delta.seq}`);
    return this.fits;
  }

  setLink(link: Link): void {
    if (this.links.at(-1)?.state !== link.state) this.links.push(link);
    for (const tell of this.#waiting.splice(0)) tell();
  }

  async until(done: () => boolean): Promise<void> {
    while (!done()) await new Promise<void>((go) => this.#waiting.push(go));
  }

  #tell(what: string): void {
    this.said.push(what);
    for (const tell of this.#waiting.splice(0)) tell();
  }
}

const isRetry = (ms: number): boolean => ms < 30_000;
const isWatch = (ms: number): boolean => ms >= 30_000;

function opened() {
  const [server, clock, seen] = [new Server(), new Clock(), new Seen()];
  return { server, clock, seen, stream: new Stream(seen, server.fetch, clock) };
}

test("a connection that ends is resumed where it ended, and says meanwhile that it is not live", async () => {
  const { server, clock, seen, stream } = opened();
  stream.open();
  await server.connections(1);
  server.say("snapshot", 4, { seq: 4 });
  server.say("delta", 5, { seq: 5 });
  await seen.until(() => seen.said.length === 2);
  server.end();
  await seen.until(() => seen.links.at(-1)?.state === "lost");
  await clock.fire(isRetry);
  await server.connections(2);
  assert.equal(server.asked[0]?.last, undefined);
  assert.equal(server.asked[1]?.last, "5");
  server.say("delta", 6, { seq: 6 });
  await seen.until(() => seen.links.at(-1)?.state === "live");
  assert.deepEqual(
    seen.links.map((link) => link.state),
    ["connecting", "live", "lost", "live"],
  );
  stream.close();
});

test("what does not fit asks for a snapshot anew", async () => {
  const { server, seen, stream } = opened();
  stream.open();
  await server.connections(1);
  server.say("snapshot", 4, { seq: 4 });
  await seen.until(() => seen.said.length === 1);
  seen.fits = false;
  server.say("delta", 9, { seq: 9 });
  await server.connections(2);
  assert.equal(server.asked[1]?.last, undefined);
  stream.close();
});

test("a connection that says nothing is given up", async () => {
  const { server, clock, seen, stream } = opened();
  stream.open();
  await server.connections(1);
  server.say("snapshot", 1, { seq: 1 });
  await seen.until(() => seen.said.length === 1);
  await clock.fire(isWatch);
  const lost = seen.links.at(-1);
  assert.equal(lost?.state, "lost");
  assert.equal(lost?.state === "lost" && lost.since, 1);
  stream.close();
});

test("a server that refuses is asked again, later each time, and its status is known", async () => {
  const { server, clock, seen, stream } = opened();
  server.status = 401;
  stream.open();
  const waits: number[] = [];
  for (let n = 1; n <= 8; n += 1) {
    await server.connections(n);
    waits.push(await clock.fire(isRetry));
  }
  const lost = seen.links.at(-1);
  assert.equal(lost?.state === "lost" && lost.status, 401);
  assert.ok((waits[0] ?? 0) <= 625 && (waits[7] ?? 0) >= 11_250 && Math.max(...waits) <= 18_750, String(waits));
  stream.close();
});

test("a server that is not there is named in words of ours, with what starts it", async () => {
  const { server, seen, stream } = opened();
  server.status = 0;
  stream.open();
  await seen.until(() => seen.links.at(-1)?.state === "lost");
  const lost = seen.links.at(-1);
  assert.match(lost?.state === "lost" ? lost.why : "", /does not answer.*quarterdeck up/);
  stream.close();
});

test("a run that is not there does not keep the deck from being shown", async () => {
  const { server, seen, stream } = opened();
  server.status = 404;
  stream.open("r-none");
  await server.connections(1);
  server.status = 200;
  await server.connections(2);
  assert.equal(server.asked[1]?.url, "api/v1/stream");
  server.say("snapshot", 3, { seq: 3 });
  await seen.until(() => seen.links.at(-1)?.state === "live");
  stream.close();
});

test("following a run opens the stream for it, from the beginning", async () => {
  const { server, seen, stream } = opened();
  stream.open();
  await server.connections(1);
  server.say("snapshot", 3, { seq: 3 });
  await seen.until(() => seen.said.length === 1);
  stream.open("r-1 x");
  await server.connections(2);
  stream.open("r-1 x");
  assert.deepEqual(server.asked[1], { url: "api/v1/stream?run=r-1%20x", last: undefined });
  assert.equal(server.asked.length, 2);
  stream.close();
});
