import assert from "node:assert/strict";
import { test } from "node:test";
import { effect } from "@preact/signals";
import { Table } from "../src/store/table.ts";

interface Row {
  readonly id: string;
  readonly n: number;
}

const none = { set: [], changed: {}, gone: [] };

const made = (...rows: Row[]): Table<Row> => {
  const table = new Table<Row>((row) => row.id);
  table.replace(rows);
  return table;
};

test("a change of one row is told to those who watch that row, and to nobody else", () => {
  const table = made({ id: "a", n: 1 }, { id: "b", n: 1 });
  const told: string[] = [];
  effect(() => {
    told.push(`a${table.get("a")?.n}`);
  });
  effect(() => {
    told.push(`b${table.get("b")?.n}`);
  });
  effect(() => {
    told.push(`ids ${table.ids.value.join("")}`);
  });
  told.length = 0;
  table.apply({ ...none, set: [{ id: "b", n: 2 }] });
  assert.deepEqual(told, ["b2"]);
});

test("fields that changed are told to those who watch that row, and to nobody else", () => {
  const table = made({ id: "a", n: 1 }, { id: "b", n: 1 });
  const told: string[] = [];
  effect(() => {
    told.push(`a${table.get("a")?.n}`);
  });
  effect(() => {
    told.push(`b${table.get("b")?.n} ${table.get("b")?.id}`);
  });
  told.length = 0;
  assert.equal(table.apply({ ...none, changed: { b: { n: 5 } } }), true);
  assert.deepEqual(told, ["b5 b"]);
  assert.equal(table.apply({ ...none, changed: { c: { n: 5 } } }), false);
});

test("who watches a row that is not there yet is told when it comes, and when it goes", () => {
  const table = made();
  const told: (number | undefined)[] = [];
  effect(() => {
    told.push(table.get("a")?.n);
  });
  table.apply({ ...none, set: [{ id: "a", n: 7 }] });
  table.apply({ ...none, gone: ["a"] });
  assert.deepEqual(told, [undefined, 7, undefined]);
});

test("replacing takes away what is not named, and keeps the signals of what is", () => {
  const table = made({ id: "a", n: 1 }, { id: "b", n: 1 });
  let told = 0;
  effect(() => {
    table.get("b");
    told += 1;
  });
  table.replace([
    { id: "b", n: 2 },
    { id: "c", n: 3 },
  ]);
  assert.deepEqual(table.ids.value, ["b", "c"]);
  assert.equal(told, 2);
  assert.deepEqual(
    table.all().map((each) => each.n),
    [2, 3],
  );
});

test("nothing changed is told to nobody", () => {
  const table = made({ id: "a", n: 1 });
  const before = table.version.value;
  table.apply(none);
  assert.equal(table.version.value, before);
});

test("what goes and comes in one step is seen as one step", () => {
  const table = made({ id: "a", n: 1 });
  const seen: string[] = [];
  effect(() => {
    seen.push(
      table
        .all()
        .map((row) => row.id)
        .join(""),
    );
  });
  table.apply({ ...none, set: [{ id: "b", n: 1 }], gone: ["a"] });
  assert.deepEqual(seen, ["a", "b"]);
});
