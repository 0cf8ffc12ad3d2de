import assert from "node:assert/strict";
import { test } from "node:test";
import { effect } from "@preact/signals";
import type { DeckRow, Delta, NeedRow, Snapshot } from "../src/api/types.ts";
import { DeckStore } from "../src/store/deck.ts";

const none = { set: [], changed: {}, gone: [] };

const need = (id: string, rank: number, since = 0): NeedRow => ({
  id,
  cause: id,
  kind: "notice",
  severity: "soon",
  rank,
  title: id,
  detail: "",
  runs: [],
  task: null,
  attempt: null,
  approval: null,
  since,
  count: 1,
  actions: [],
  next: "",
});

const snapshot = (seq: number, needs: NeedRow[] = []): Snapshot => ({
  seq,
  at: Date.now() / 1000,
  deck: null,
  runs: [],
  agents: [],
  needs,
  gates: [],
  approvals: [],
  run: null,
  tasks: [],
});

const delta = (seq: number, more: Partial<Delta> = {}): Delta => ({
  seq,
  at: Date.now() / 1000,
  deck: null,
  runs: none,
  agents: none,
  needs: none,
  gates: none,
  approvals: none,
  tasks: none,
  touched: {},
  ...more,
});

test("a delta before any snapshot does not fit", () => {
  assert.equal(new DeckStore().delta(delta(3)), false);
});

test("a delta that is already in the snapshot changes nothing", () => {
  const store = new DeckStore();
  store.snapshot(snapshot(5, [need("a", 1)]));
  assert.equal(store.delta(delta(5, { needs: { ...none, gone: ["a"] } })), true);
  assert.deepEqual(store.needs.ids.value, ["a"]);
  assert.equal(store.delta(delta(6, { needs: { ...none, gone: ["a"] } })), true);
  assert.deepEqual(store.needs.ids.value, []);
});

test("of a row that is there, only the fields that are named change", () => {
  const store = new DeckStore();
  store.snapshot(snapshot(1, [need("a", 1), need("b", 2)]));
  const before = store.needs.peek("b");
  assert.equal(store.delta(delta(2, { needs: { ...none, changed: { a: { title: "new", count: 3 } } } })), true);
  assert.deepEqual(store.needs.peek("a"), { ...need("a", 1), title: "new", count: 3 });
  assert.equal(store.needs.peek("b"), before);
});

test("fields of a row that is not there do not fit: a new snapshot is needed", () => {
  const store = new DeckStore();
  store.snapshot(snapshot(1, [need("a", 1)]));
  assert.equal(store.delta(delta(2, { needs: { ...none, changed: { b: { title: "new" } } } })), false);
  assert.deepEqual(store.needs.ids.value, ["a"]);
});

test("needs are ranked, and what is as urgent by how long it has waited", () => {
  const store = new DeckStore();
  store.snapshot(snapshot(1, [need("late", 5, 200), need("top", 9, 300), need("early", 5, 100)]));
  assert.deepEqual(
    store.ranked.value.map((row) => row.id),
    ["top", "early", "late"],
  );
});

test("nobody sees half of a delta", () => {
  const store = new DeckStore();
  store.snapshot(snapshot(1, [need("a", 1)]));
  const seen: string[] = [];
  effect(() => {
    seen.push(`${store.needs.ids.value.join("")} ${store.touched.value["run/r"] ?? 0}`);
  });
  store.delta(delta(2, { needs: { ...none, set: [need("b", 1)], gone: ["a"] }, touched: { "run/r": 4 } }));
  assert.deepEqual(seen, ["a 0", "b 4"]);
});

test("a new snapshot forgets which streams grew before it", () => {
  const store = new DeckStore();
  store.snapshot(snapshot(1));
  store.delta(delta(2, { touched: { "run/r": 4 } }));
  store.delta(delta(3, { touched: { "attempt/x": 2 } }));
  assert.deepEqual(store.touched.value, { "run/r": 4, "attempt/x": 2 });
  store.snapshot(snapshot(9));
  assert.deepEqual(store.touched.value, {});
});

test("a page notices that another version of the server has begun", () => {
  const store = new DeckStore();
  const of = (version: string) => ({ version }) as DeckRow;
  assert.equal(store.outdated.value, false);
  store.snapshot({ ...snapshot(1), deck: of("1.0") });
  store.snapshot({ ...snapshot(2), deck: of("1.0") });
  assert.equal(store.outdated.value, false);
  store.snapshot({ ...snapshot(9), deck: of("1.1") });
  assert.equal(store.outdated.value, true);
});

test("being live again and again is told once", () => {
  const store = new DeckStore();
  let told = 0;
  effect(() => {
    store.link.value;
    told += 1;
  });
  store.setLink({ state: "live" });
  store.setLink({ state: "live" });
  assert.equal(told, 2);
});
