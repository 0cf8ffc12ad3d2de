import assert from "node:assert/strict";
import { test } from "node:test";
import type { SpanKind } from "../src/api/types.ts";
import {
  at,
  build,
  FAILED_WIDTH,
  failedFrom,
  firstReaching,
  type Page,
  panned,
  SHORTEST,
  showing,
  since,
  span,
  strokes,
  ticks,
  zoomed,
} from "../src/screens/run/timeline.ts";

type Raw = [lane: number, start: number, end: number, kind: SpanKind, ok: number, seq: number];

function page(spans: Raw[], lanes = ["a", "b"], parents: Record<string, string> = {}): Page {
  return {
    lanes: lanes.map((attempt) => ({ attempt, task: attempt, agent: "coder", parent: parents[attempt] ?? null })),
    labels: ["look", "write"],
    spans: {
      lane: spans.map((each) => each[0]),
      start: spans.map((each) => each[1]),
      end: spans.map((each) => each[2]),
      kind: spans.map((each) => each[3]),
      label: spans.map(() => 1),
      ok: spans.map((each) => each[4]),
      seq: spans.map((each) => each[5]),
    },
  };
}

const numbers = (d: string): number[] => [...d.matchAll(/M([\d.]+)/g)].map((match) => Number(match[1]));

test("pages join, and a later page ends what was open", () => {
  const timeline = build([
    page([
      [0, 10, 11, "model", 1, 1],
      [0, 11, -1, "tool", -1, 3],
    ]),
    page([[1, 12, 13, "check", 0, 1]], ["c", "d"]),
    page([[0, 11, 15, "tool", 1, 3]]),
  ]);
  assert.equal(timeline.count, 3);
  assert.equal(timeline.open, 0);
  assert.equal(timeline.failed, 1);
  assert.deepEqual([timeline.start, timeline.end], [10, 15]);
  assert.deepEqual(span(timeline, 0, 1), {
    lane: 0,
    place: 1,
    start: 11,
    end: 15,
    kind: "tool",
    label: "write",
    ok: true,
    seq: 3,
  });
  assert.equal(span(timeline, 0, 2), null);
  assert.equal(span(timeline, 9, 0), null);
});

test("a span that names no lane of its page is passed over, and times that run backwards make no negative length", () => {
  const timeline = build([
    page([
      [7, 1, 2, "tool", 1, 1],
      [0, 5, 4, "tool", 1, 2],
    ]),
  ]);
  assert.equal(timeline.count, 1);
  assert.equal(span(timeline, 0, 0)?.end, 5);
});

test("lanes stand in the order in which they began, a sub-agent's below its parent", () => {
  const timeline = build([
    page(
      [
        [0, 1, 2, "tool", 1, 1],
        [1, 2, 3, "tool", 1, 1],
        [2, 9, 9.5, "tool", 1, 1],
      ],
      ["a", "b", "a.sub"],
      { "a.sub": "a" },
    ),
  ]);
  assert.deepEqual(
    timeline.tracks.map((track) => track.lane.attempt),
    ["a", "a.sub", "b"],
  );
  const circle = build([page([[0, 1, 2, "tool", 1, 1]], ["a", "b"], { a: "b", b: "a" })]);
  assert.equal(circle.tracks.length, 2);
});

test("a long span is found however many short ones began after it", () => {
  const short: Raw[] = Array.from({ length: 1000 }, (_, n) => [0, 1 + n, 1.5 + n, "tool", 1, n + 2]);
  const [track] = build([page([[0, 0, 5000, "wait", 1, 1], ...short])]).tracks;
  assert.ok(track);
  assert.equal(firstReaching(track, 900), 0);
  assert.equal(firstReaching(track, 5001), 1001);
  const drawn = strokes(track, { start: 4000, end: 4100 }, 100, () => 10, 6000);
  assert.deepEqual(drawn, [{ look: "wait", d: "M0 0h100v10H0z" }]);
});

test("bisection agrees with looking at every span", () => {
  const raw: Raw[] = Array.from({ length: 400 }, (_, n) => {
    const start = (n * 7919) % 1000;
    return [0, start, start + ((n * 104729) % 90) / (n % 5 === 0 ? 1 : 30), "tool", 1, n];
  });
  const timeline = build([page(raw)]);
  const [track] = timeline.tracks;
  assert.ok(track);
  for (let time = 0; time < 1100; time += 13) {
    const first = firstReaching(track, time);
    for (let place = 0; place < first; place += 1) assert.ok((track.ends[place] as number) < time);
    if (first < track.ends.length) assert.ok((track.reach[first] as number) >= time);
  }
});

test("tiny spans become one piece and a failed one is never lost among them", () => {
  const raw: Raw[] = Array.from({ length: 30_000 }, (_, n) => [0, n, n + 0.5, "tool", n === 17_000 ? 0 : 1, n]);
  const timeline = build([page(raw)]);
  const [track] = timeline.tracks;
  assert.ok(track);
  const drawn = strokes(track, { start: 0, end: 30_000 }, 1000, () => 20, 40_000);
  assert.deepEqual(
    drawn.map((stroke) => stroke.look),
    ["tool", "failed"],
  );
  assert.ok(numbers(drawn[0]?.d ?? "").length <= 1000);
  assert.equal(drawn[1]?.d, `M566.7 0h${FAILED_WIDTH}v20H566.7z`);
});

test("an open span is drawn to now and no further than the view", () => {
  const [track] = build([page([[0, 10, -1, "model", -1, 1]])]).tracks;
  assert.ok(track);
  assert.deepEqual(
    strokes(track, { start: 0, end: 40 }, 400, () => 8, 20),
    [{ look: "model", d: "M100 0h100v8H100z" }],
  );
  assert.deepEqual(
    strokes(track, { start: 0, end: 40 }, 400, () => 8, 90),
    [{ look: "model", d: "M100 0h300v8H100z" }],
  );
});

test("pointing at a span finds the shortest there, else the nearest that is near enough", () => {
  const timeline = build([
    page([
      [0, 0, 100, "wait", 1, 1],
      [0, 40, 50, "tool", 1, 2],
      [0, 120, 121, "tool", 1, 3],
    ]),
  ]);
  assert.equal(at(timeline, 0, 45, 1, 200)?.seq, 2);
  assert.equal(at(timeline, 0, 60, 1, 200)?.seq, 1);
  assert.equal(at(timeline, 0, 118, 3, 200)?.seq, 3);
  assert.equal(at(timeline, 0, 110, 3, 200), null);
  assert.equal(at(timeline, 5, 110, 3, 200), null);
});

test("the keys walk failed spans of all lanes in the order of time, around the ends", () => {
  const timeline = build([
    page([
      [0, 1, 2, "tool", 0, 1],
      [1, 5, 6, "tool", 0, 1],
      [0, 9, 9, "tool", 0, 2],
      [1, 3, 4, "tool", 1, 3],
    ]),
  ]);
  const seen: number[] = [];
  let here = failedFrom(timeline, null, 1);
  for (let count = 0; count < 4; count += 1) {
    seen.push(here?.start ?? -1);
    here = failedFrom(timeline, here, 1);
  }
  assert.deepEqual(seen, [1, 5, 9, 1]);
  assert.equal(failedFrom(timeline, null, -1)?.start, 9);
  assert.equal(failedFrom(timeline, span(timeline, 0, 0), -1)?.start, 9);
  assert.equal(failedFrom(build([]), null, 1), null);
});

test("zooming keeps the time under the pointer and stays within the whole", () => {
  const whole = { start: 0, end: 1000 };
  const view = zoomed(whole, 4, 250, whole);
  assert.deepEqual(view, { start: 187.5, end: 437.5 });
  assert.deepEqual(zoomed(view, 0.001, 300, whole), whole);
  const close = zoomed(view, 1e9, 300, whole);
  assert.ok(Math.abs(close.end - close.start - SHORTEST) < 1e-9);
  assert.deepEqual(panned(view, 10_000, whole), { start: 750, end: 1000 });
  assert.deepEqual(panned(view, -10_000, whole), { start: 0, end: 250 });
});

test("a span that is in sight moves nothing; one that is not is brought in", () => {
  const whole = { start: 0, end: 1000 };
  const view = { start: 100, end: 200 };
  assert.equal(showing(view, 120, 130, whole), view);
  assert.equal(showing(view, 120, 900, whole).start, 95);
  const moved = showing(view, 500, 501, whole);
  assert.ok(moved.start <= 500 && moved.end >= 501 && moved.end - moved.start === 100);
});

test("the axis has round marks and room for their words", () => {
  assert.deepEqual(
    ticks({ start: 1000, end: 1100 }, 1000, 800, 80).map((tick) => tick.text),
    ["0:00", "0:10", "0:20", "0:30", "0:40", "0:50", "1:00", "1:10", "1:20", "1:30", "1:40"],
  );
  for (const length of [0.05, 1, 37, 4000, 90_000, 9_000_000]) {
    const marks = ticks({ start: 5, end: 5 + length }, 5, 640, 80);
    assert.ok(marks.length >= 1 && marks.length <= 9, `${marks.length} marks for ${length} s`);
  }
  assert.equal(since(3725, 1), "1:02:05");
  assert.equal(since(0.25, 0.05), "0:00.25");
  assert.equal(since(59.99, 0.1), "1:00.0");
});
