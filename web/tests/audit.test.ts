import assert from "node:assert/strict";
import { test } from "node:test";
import type { EventRow } from "../src/api/types.ts";
import { attemptOf, gist, joined, runOf, wanted } from "../src/screens/audit/search.ts";

const event = (id: number, kind = "k"): EventRow => ({
  id,
  stream: "deck",
  seq: id,
  at: id,
  epoch: 1,
  kind,
  hash: "",
  body: {},
});

test("what is searched is read from the address", () => {
  assert.deepEqual(wanted({ kind: "tool.done", other: "x" }), { stream: "", kind: "tool.done", q: "" });
});

test("pages join, the newest first, and nothing stands twice", () => {
  const ids = joined([event(9), event(8)], [event(8, "again"), event(3)]).map((each) => `${each.id}${each.kind}`);
  assert.deepEqual(ids, ["9k", "8again", "3k"]);
});

test("an event on one line begins with what says most, and leaves out what is elsewhere", () => {
  assert.equal(
    gist({ kind: "tool.done", step: 3, tool: "shell", ok: false, result_blob: "ab", reason: "exit 1\nmore", why: "" }),
    "exit 1 more · shell · step 3 · ok false",
  );
  assert.equal(gist({ nested: { a: 1 } }), "");
  assert.equal(gist({ seconds: 0.22114450400113128, step: 3 }), "seconds 0.221 · step 3");
  assert.equal(gist({ reason: "x".repeat(500) }).length, 161);
});

test("an event leads to its run and its thread", () => {
  assert.equal(runOf("run/r-1"), "r-1");
  assert.equal(runOf("attempt/r-1.task.2.review1"), "r-1");
  assert.equal(runOf("mail/r-1.task.2"), "r-1");
  assert.equal(runOf("gate/0123"), null);
  assert.equal(runOf("deck"), null);
  assert.equal(attemptOf("attempt/r-1.task.2"), "r-1.task.2");
  assert.equal(attemptOf("run/r-1"), null);
});
