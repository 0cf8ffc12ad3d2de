import assert from "node:assert/strict";
import { test } from "node:test";
import type { GateCheck, GateRow, LandedChange, QueuedChange } from "../src/api/types.ts";
import { lattice, MOST, ranked, since, unreviewed, wayOf, worded } from "../src/screens/integrate/lattice.ts";

const queued = (attempt: string): QueuedChange => ({
  attempt,
  run: "r",
  task: attempt,
  title: attempt,
  agent: "coder",
  state: "waiting",
  on_top_of: [],
  against: [],
  since: 1,
  merged: "",
});

const check = (stack: string[], more: Partial<GateCheck> = {}): GateCheck => ({
  check: `${stack.join("+")}${more.number ?? 1}`,
  tip: "t",
  stack,
  number: 1,
  started_at: 1,
  passed: null,
  reason: "",
  ...more,
});

const landed = (at: number, reviewed = true): LandedChange => ({
  attempt: "a",
  run: "r",
  task: "a",
  title: "",
  commit: "c",
  at,
  reviewed,
  merged: "",
  together: 1,
});

const gate = (more: Partial<GateRow>): GateRow => ({
  target: "g",
  repository: "/srv/x",
  branch: "main",
  tip: "t",
  tip_green: null,
  stall: "",
  queue: [],
  checks: [],
  landed: [],
  returned: [],
  ...more,
});

const drawn = (found: ReturnType<typeof lattice>): string[] =>
  found.columns.map((column) =>
    column.cells.map((cell) => (cell === "in" ? "●" : cell === "past" ? "|" : " ")).join(""),
  );

test("each tree is a column from the tip down to its last change, short ones first", () => {
  const found = lattice({
    queue: ["a", "b", "c"].map(queued),
    checks: [check(["a", "b", "c"]), check(["a"]), check(["a", "c"])],
  });
  assert.deepEqual(found.rows, ["a", "b", "c"]);
  assert.deepEqual(drawn(found), ["●  ", "●|●", "●●●"]);
  assert.ok(found.columns.every((column) => column.state === "running"));
});

test("a verdict is shown while the queue holds its tree, the newest one, and not beside a new check of the same", () => {
  const found = lattice({
    queue: ["a", "b"].map(queued),
    checks: [
      check(["a"], { passed: false, started_at: 1 }),
      check(["a"], { passed: true, started_at: 2, number: 2 }),
      check(["gone", "a"], { passed: true }),
      check(["a", "b"], { passed: false, number: 1 }),
      check(["a", "b"], { number: 2 }),
      check([], { passed: true }),
    ],
  });
  assert.deepEqual(
    found.columns.map((column) => [column.check.stack.join(), column.state]),
    [
      ["a", "green"],
      ["a,b", "running"],
    ],
  );
});

test("a running check may hold a change that has left the queue, and the tip alone", () => {
  const found = lattice({ queue: [queued("b")], checks: [check(["a", "b"]), check([])] });
  assert.deepEqual(found.rows, ["b", "a"]);
  assert.deepEqual(drawn(found), ["  ", "●●"]);
});

test("what there is no room for is counted", () => {
  const names = Array.from({ length: MOST + 5 }, (_, n) => `c${n}`);
  const found = lattice({ queue: names.map(queued), checks: names.map((_, n) => check(names.slice(0, n + 1))) });
  assert.deepEqual([found.columns.length, found.more], [MOST, 5]);
});

test("a tree reads as what it is made of", () => {
  assert.equal(
    worded(check(["r.a.1", "r.b.2"]), (attempt) => attempt.split(".")[1] ?? ""),
    "the tip + a + b",
  );
  assert.equal(worded(check([], { number: 2 }), String), "the tip, try 2");
});

test("the gate in which something goes on comes first, then the newest", () => {
  const order = ranked([
    gate({ target: "old", landed: [landed(1)] }),
    gate({ target: "new", landed: [landed(9)] }),
    gate({ target: "judged", checks: [check(["x"], { passed: true })] }),
    gate({ target: "busy", checks: [check(["x"])] }),
  ]).map((each) => each.target);
  assert.deepEqual(order, ["busy", "new", "old", "judged"]);
  assert.equal(unreviewed(gate({ landed: [landed(1, false), landed(2)] })), 1);
});

test("a way of merging is told apart from those that were not taken", () => {
  assert.deepEqual(wayOf("merged by git"), { way: "merged by git", lost: [] });
  assert.deepEqual(wayOf("merged by entity (git: conflict in a(1).py; driver: not here; or off; union: red (1))"), {
    way: "merged by entity",
    lost: ["git: conflict in a(1).py", "driver: not here; or off", "union: red (1)"],
  });
});

test("of a change that was sent back it is known whether another one for its task landed or waits", () => {
  const change = { run: "r", task: "a", attempt: "r.a.1" };
  const queue = [{ ...queued("r.a.2"), task: "a" }];
  assert.equal(since({ queue: [], landed: [] }, change), null);
  assert.equal(since({ queue, landed: [] }, change), "queued");
  assert.equal(since({ queue, landed: [{ ...landed(1), attempt: "r.a.2" }] }, change), "landed");
  assert.equal(since({ queue: [], landed: [{ ...landed(1), attempt: "r.a.1" }] }, change), null);
  assert.equal(since({ queue, landed: [] }, { ...change, run: "other" }), null);
});
