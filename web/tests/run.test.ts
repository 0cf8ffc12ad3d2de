import assert from "node:assert/strict";
import { test } from "node:test";
import type { RunRow } from "../src/api/types.ts";
import { blocks, inline } from "../src/components/markdown.ts";
import { matches } from "../src/screens/run/matching.ts";

const run = (more: Partial<RunRow>): RunRow => ({
  run: "r-1",
  goal: "Retry with backoff",
  status: "running",
  repository: "/srv/webhooks",
  branch: "main",
  user: "ada",
  created_at: 1,
  updated_at: 2,
  finished_at: null,
  budget_usd: 5,
  cost_usd: 1,
  tokens: { input: 0, cache_read: 0, cache_write: 0, output: 0 },
  tasks: { total: 0, merged: 0, active: 0, failed: 0, waiting: 0 },
  reason: "",
  held: "",
  version: 1,
  ...more,
});

test("a search finds runs by all of its words, wherever they stand", () => {
  assert.ok(matches(run({}), "all", ""));
  assert.ok(matches(run({}), "all", "  WEBHOOKS retry "));
  assert.ok(!matches(run({}), "all", "retry storage"));
});

test("a kind of run leaves out the others", () => {
  const done = run({ status: "done", finished_at: 3 });
  const failed = run({ status: "failed", finished_at: 3 });
  const paused = run({ status: "paused" });
  const found = (kind: "open" | "waiting" | "failed") =>
    [run({}), done, failed, paused].filter((each) => matches(each, kind, "")).map((each) => each.status);
  assert.deepEqual(found("open"), ["running", "paused"]);
  assert.deepEqual(found("waiting"), ["paused"]);
  assert.deepEqual(found("failed"), ["failed"]);
});

test("a report is read as blocks, and what is no mark stays text", () => {
  assert.deepEqual(
    blocks("# Goal\n\nRun `r`:\ndone.\n\n- **a** x\n  goes on\n  - deeper\n\n```py\n# no heading\n```\n<b>x</b>"),
    [
      { kind: "heading", level: 1, text: "Goal" },
      { kind: "text", text: "Run `r`:\ndone." },
      { kind: "item", depth: 0, text: "**a** x\ngoes on" },
      { kind: "item", depth: 1, text: "deeper" },
      { kind: "code", text: "# no heading" },
      { kind: "text", text: "<b>x</b>" },
    ],
  );
  assert.deepEqual(blocks("```\nnever closed"), [{ kind: "code", text: "never closed" }]);
  assert.deepEqual(blocks(""), []);
});

test("code and emphasis are pieces of a line; a lone mark is text", () => {
  assert.deepEqual(inline("a `b*c` **d** 2 * 3 ` x [l](http://e)"), [
    { text: "a ", look: "plain" },
    { text: "b*c", look: "code" },
    { text: " ", look: "plain" },
    { text: "d", look: "strong" },
    { text: " 2 * 3 ` x [l](http://e)", look: "plain" },
  ]);
  assert.deepEqual(inline("**<img src=x>**"), [{ text: "<img src=x>", look: "strong" }]);
});
