import assert from "node:assert/strict";
import { test } from "node:test";
import type { AgentRow, ApprovalRow, NeedRow, RunRow } from "../src/api/types.ts";
import { beside, inSight } from "../src/components/rows.ts";
import { counts, ordered, pace } from "../src/screens/fleet/order.ts";
import { items } from "../src/screens/inbox/items.ts";
import { standing } from "../src/screens/now/standing.ts";
import { mayOrder } from "../src/store/role.ts";

const agent = (attempt: string, more: Partial<AgentRow> = {}): AgentRow => ({
  attempt,
  run: "r-1",
  task: attempt,
  title: `Title of ${attempt}`,
  agent: "implementer",
  harness: "native",
  model: "",
  node: "implement",
  incarnation: 1,
  steps: 0,
  started_at: 0,
  last_at: 0,
  useful_at: 100,
  useful: "",
  cadence_s: 0,
  silent: false,
  silent_after: null,
  waits_on: "",
  waits_since: null,
  context_tokens: 0,
  context_window: 0,
  spent_usd: 0,
  cap_usd: null,
  turns: 0,
  max_turns: 1,
  parent: null,
  ...more,
});

const names = (rows: readonly AgentRow[]): string => rows.map((row) => row.attempt).join(" ");

test("the silent come first, the longest silence at the top, then who waits for a person", () => {
  const rows = [
    agent("d"),
    agent("c", { waits_on: "question" }),
    agent("b", { silent: true, useful_at: 90 }),
    agent("a", { silent: true, useful_at: 10, waits_on: "approval" }),
    agent("e", { useful_at: 1 }),
  ];
  assert.equal(names(ordered(rows, "all", "")), "a b c d e");
  assert.equal(names(ordered(rows, "silent", "")), "a b");
  assert.equal(names(ordered(rows, "person", "")), "a c");
  assert.equal(names(ordered(rows, "all", "implem TITLE d")), "d");
  assert.deepEqual(counts(rows), { all: 5, silent: 2, person: 2, model: 0, tool: 0, other: 0 });
});

test("an agent's pace is known once its usual gap is", () => {
  assert.equal(pace(agent("a"), 500), null);
  assert.equal(pace(agent("a", { cadence_s: 40 }), 160), 1.5);
  assert.equal(pace(agent("a", { cadence_s: 40 }), 50), 0);
});

test("only the rows in sight are drawn, and those just around them", () => {
  assert.deepEqual(inSight(0, 400, 40, 1000), [0, 16]);
  assert.deepEqual(inSight(4000, 400, 40, 1000), [94, 116]);
  assert.deepEqual(inSight(99_999, 400, 40, 3), [3, 3]);
  assert.deepEqual(inSight(0, 400, 40, 0), [0, 0]);
});

test("the neighbour stops at the ends and begins somewhere", () => {
  const ids = ["a", "b", "c"];
  assert.equal(beside(ids, null, 1), "a");
  assert.equal(beside(ids, null, -1), "c");
  assert.equal(beside(ids, "gone", 1), "a");
  assert.equal(beside(ids, "b", 10), "c");
  assert.equal(beside(ids, "a", -1), "a");
  assert.equal(beside([], "a", 1), null);
});

test("what expires soon comes first, then the higher risk, then what has waited longest", () => {
  const approval = (id: string, more: Partial<ApprovalRow>): ApprovalRow => ({
    approval: id,
    what: "tool",
    run: "r-1",
    task: null,
    attempt: null,
    agent: "",
    title: id,
    action_hash: id,
    risk: "low",
    why: [],
    cost_usd: 0,
    since: 0,
    expires_at: null,
    status: "open",
    by: null,
    reason: "",
    ...more,
  });
  const question = { id: "question", kind: "question", since: 5 } as NeedRow;
  const found = items(
    [
      approval("old", { since: 1 }),
      approval("new", { since: 9 }),
      approval("risky", { since: 9, risk: "high" }),
      approval("soon", { since: 9, expires_at: 1300 }),
      approval("sooner", { since: 9, expires_at: 1100 }),
      approval("decided", { status: "approved" }),
    ],
    [question, { id: "silent", kind: "silent", since: 0 } as NeedRow],
    1000,
  );
  assert.deepEqual(
    found.map((item) => item.id),
    ["sooner", "soon", "risky", "question", "old", "new"],
  );
});

test("a task that no agent is left for stands in the inbox beside the questions", () => {
  const needs = [
    { id: "q", kind: "question", since: 2 },
    { id: "e", kind: "escalated", since: 1 },
    { id: "f", kind: "failed", since: 0 },
  ] as NeedRow[];
  assert.deepEqual(
    items([], needs, 0).map((item) => item.id),
    ["e", "q"],
  );
});

test("work is done only when every run has ended; else what is paused or not done is named", () => {
  const run = (id: string, more: Partial<RunRow>) =>
    ({ run: id, goal: `Goal of ${id}`, status: "done", finished_at: 1, held: "", reason: "", ...more }) as RunRow;
  assert.equal(standing([]), null);
  assert.equal(standing([run("a", {})]), null);
  const paused = run("b", { status: "paused", finished_at: null });
  assert.equal(standing([run("a", {}), paused])?.next, "quarterdeck resume b");
  const gated = run("c", { status: "running", finished_at: null });
  assert.equal(standing([paused, gated])?.title, "1 run not yet done");
  assert.match(standing([paused, gated])?.words ?? "", /Goal of c/);
});

test("who may only look is offered nothing that changes something", () => {
  const roles = ["viewer", "operator", "admin"] as const;
  assert.deepEqual(
    roles.map((role) => mayOrder({ name: "ada", role, session: false })),
    [false, true, true],
  );
});
