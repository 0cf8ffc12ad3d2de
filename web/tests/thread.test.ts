import assert from "node:assert/strict";
import { test } from "node:test";
import type { ThreadEntry } from "../src/api/types.ts";
import {
  curve,
  extended,
  FOLD_LINES,
  fill,
  folded,
  gist,
  KEPT,
  NOTHING,
  preceded,
  steps,
  told,
} from "../src/screens/run/thread.ts";

const entry = (seq: number, more: Partial<ThreadEntry> = {}): ThreadEntry => ({
  seq,
  at: seq,
  kind: "said",
  step: seq,
  text: "",
  cut: false,
  tool: "",
  arguments: "",
  ok: null,
  decision: "",
  rules: [],
  flags: [],
  seconds: 0,
  model: "",
  tokens: null,
  cost_usd: 0,
  context_tokens: 0,
  ...more,
});

const entries = (from: number, to: number): ThreadEntry[] =>
  Array.from({ length: to - from + 1 }, (_, index) => entry(from + index));

const numbers = (stretch: { entries: readonly ThreadEntry[] }): number[] => stretch.entries.map((each) => each.seq);

test("pages join at both ends without gaps or repeats", () => {
  let stretch = extended(NOTHING, { entries: entries(50, 60), before: 50, after: null });
  stretch = preceded(stretch, { entries: entries(40, 52), before: 40, after: 52 });
  stretch = extended(stretch, { entries: entries(60, 65), before: 60, after: null });
  assert.deepEqual(numbers(stretch), numbers({ entries: entries(40, 65) }));
  assert.deepEqual([stretch.before, stretch.after], [40, null]);
});

test("an entry that comes again replaces the earlier one, and entries of one event stand beside each other", () => {
  const open = entry(3, { kind: "call", tool: "shell", arguments: '{"a":1}' });
  const other = { ...open, arguments: '{"a":2}' };
  let stretch = extended(NOTHING, { entries: [open, other], before: null, after: null });
  stretch = extended(stretch, { entries: [{ ...open, ok: true }], before: null, after: null });
  assert.deepEqual(
    stretch.entries.map((each) => each.ok),
    [true, null],
  );
});

test("no more than a few hundred entries are held, and what is dropped can be loaded again", () => {
  let stretch = extended(NOTHING, { entries: entries(1, KEPT), before: null, after: KEPT });
  stretch = extended(stretch, { entries: entries(KEPT + 1, KEPT + 100), before: KEPT + 1, after: null });
  assert.equal(stretch.entries.length, KEPT);
  assert.deepEqual([stretch.before, stretch.after], [101, null]);
  stretch = preceded(stretch, { entries: entries(1, 100), before: null, after: 100 });
  assert.equal(stretch.entries.length, KEPT);
  assert.deepEqual([stretch.before, stretch.after], [null, KEPT]);
});

test("long text is folded to its beginning and says what is left", () => {
  const lines = (count: number) => Array.from({ length: count }, (_, n) => `line ${n}`).join("\n");
  assert.deepEqual(folded("short"), { shown: "short", more: "" });
  assert.equal(folded(lines(FOLD_LINES + 2)).more, "");
  const long = folded(lines(100));
  assert.equal(long.shown.split("\n").length, FOLD_LINES);
  assert.equal(long.more, "88 more lines");
  const wide = folded(`${"x".repeat(1599)}👍${"y".repeat(50)}`);
  assert.equal(wide.shown, "x".repeat(1599));
  assert.equal(wide.more, "52 more characters");
});

test("arguments read as names and values, whatever they are", () => {
  assert.deepEqual(told('{"command":"ls\\n-l","n":3,"deep":{"a":[1]}}'), [
    { name: "command", value: "ls\n-l" },
    { name: "n", value: "3" },
    { name: "deep", value: '{\n  "a": [\n    1\n  ]\n}' },
  ]);
  assert.deepEqual(told('{"cut in the mid'), [{ name: "", value: '{"cut in the mid' }]);
  assert.deepEqual(told("[1]"), [{ name: "", value: "[\n  1\n]" }]);
  assert.deepEqual(told("null"), [{ name: "", value: "null" }]);
  assert.deepEqual(told(""), []);
  assert.equal(gist('{"why":"x","path":"src/a.py"}'), "src/a.py");
  assert.equal(gist('{"command":"ls\\n-l"}'), "ls");
  assert.equal(gist('{"findings":[],"verdict":"change"}'), "change");
  assert.equal(gist("{}"), "");
});

test("entries of one step have one head", () => {
  const found = steps([0, 1, 0, 1, 2].map((step, at) => entry(at + 1, { step })));
  assert.deepEqual(
    found.map((each) => [each.step, each.entries.length]),
    [
      [0, 1],
      [1, 3],
      [2, 1],
    ],
  );
});

test("context fill is the most of each step, in their order", () => {
  const found = fill([
    entry(5, { step: 2, context_tokens: 900 }),
    entry(1, { step: 1, context_tokens: 300 }),
    entry(2, { step: 1, context_tokens: 500 }),
    entry(9, { step: 3 }),
  ]);
  assert.deepEqual(
    found.map((each) => [each.step, each.tokens]),
    [
      [1, 500],
      [2, 900],
    ],
  );
  assert.equal(curve([0, 50, 200], 100, 10, 20), "M0 20L5 10L10 0");
  assert.equal(curve([1], 100, 10, 20), "");
});
