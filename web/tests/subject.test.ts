import assert from "node:assert/strict";
import { test } from "node:test";
import { understood } from "../src/actions/subject.ts";
import type { Diff } from "../src/api/types.ts";

const diff = (commit: string): Diff => ({ base: "b", commit, files: [], cut: false });
const change = JSON.stringify({ change: { commit: "abc123" }, into: "main", findings: ["weakened test", { a: 1 }] });

test("a change says where it would land and what was found in it", () => {
  const known = understood({ what: "merge", subject: change, diff: diff("abc") });
  assert.deepEqual([known.into, known.findings, known.other], ["main", ["weakened test", '{"a":1}'], false]);
});

test("a diff of another commit than the one that is asked about is never shown as if it were that", () => {
  assert.equal(understood({ what: "merge", subject: change, diff: diff("fff999") }).other, true);
});

test("what is no change, or cannot be read, says nothing of its own", () => {
  const nothing = { into: "", findings: [], other: false };
  assert.deepEqual(understood({ what: "plan", subject: "v: 1\n", diff: null }), nothing);
  assert.deepEqual(understood({ what: "tool", subject: change, diff: null }), nothing);
  assert.deepEqual(understood({ what: "merge", subject: "[1]", diff: diff("x") }), nothing);
  assert.deepEqual(understood({ what: "merge", subject: "{broken", diff: diff("x") }), nothing);
});
