import assert from "node:assert/strict";
import { test } from "node:test";
import { columns, type GraphTask, layout, SIZES } from "../src/screens/run/graph.ts";
import { path, step, within } from "../src/screens/run/picture.ts";

const task = (name: string, needs: string[] = [], more: Partial<GraphTask> = {}): GraphTask => ({
  task: name,
  position: 0,
  status: "pending",
  needs,
  critical: false,
  ...more,
});

const numbered = (tasks: GraphTask[]): GraphTask[] => tasks.map((each, position) => ({ ...each, position }));

function assertApart(picture: ReturnType<typeof layout>): void {
  const byColumn = new Map<number, number[]>();
  for (const box of picture.boxes) byColumn.set(box.column, [...(byColumn.get(box.column) ?? []), box.y]);
  for (const ys of byColumn.values()) {
    ys.sort((a, b) => a - b);
    ys.slice(1).forEach((y, index) => {
      assert.ok(y - (ys[index] as number) >= SIZES.height, `boxes overlap at ${ys[index]} and ${y}`);
    });
  }
}

test("a task stands right of everything that it needs, as near as it can", () => {
  const placed = columns(numbered([task("d", ["b", "c"]), task("b", ["a"]), task("c"), task("a")]));
  assert.deepEqual(
    ["a", "b", "c", "d"].map((name) => placed.get(name)?.column),
    [0, 1, 0, 2],
  );
});

test("an unknown need, a need of itself and a circle are shown without the edge that cannot be", () => {
  const picture = layout(numbered([task("a", ["c", "nobody"]), task("b", ["a", "b"]), task("c", ["b"])]));
  assert.equal(picture.boxes.length, 3);
  assert.deepEqual(picture.edges.map((edge) => `${edge.from}>${edge.to}`).sort(), ["a>b", "b>c"]);
});

test("a chain of a thousand is laid out", () => {
  const chain = numbered(
    Array.from({ length: 1000 }, (_, n) => task(`t${n}`, n === 0 ? [] : [`t${n - 1}`], { critical: true })),
  );
  const picture = layout(chain);
  assert.equal(picture.boxes.length, 1000);
  assert.ok(picture.edges.every((edge) => edge.critical));
  assert.equal(new Set(picture.boxes.map((box) => box.column)).size, 1000);
});

test("boxes of a column never overlap and edges begin and end at their boxes", () => {
  const tasks = numbered(
    Array.from({ length: 55 }, (_, n) =>
      task(
        `t${n}`,
        [n - 3, n - 7, n - 20].filter((need) => need >= 0 && (n * need) % 3 !== 1).map((need) => `t${need}`),
      ),
    ),
  );
  const picture = layout(tasks);
  assertApart(picture);
  const boxes = new Map(picture.boxes.map((box) => [box.id, box]));
  for (const { from, to, points } of picture.edges) {
    const [left, right] = [boxes.get(from), boxes.get(to)];
    assert.ok(left && right && left.column < right.column);
    assert.deepEqual(points[0], [left.x + SIZES.width, left.y + SIZES.height / 2]);
    assert.deepEqual(points[points.length - 1], [right.x, right.y + SIZES.height / 2]);
    assert.match(path(points), /^M[\d.]+ [\d.]+[CL]/);
  }
});

test("an edge that passes a column keeps free of its boxes", () => {
  const picture = layout(numbered([task("a"), task("b", ["a"]), task("c", ["b"]), task("d", ["c", "a"])]));
  const far = picture.edges.find((edge) => edge.from === "a" && edge.to === "d");
  for (const [x, y] of far?.points.slice(1, -1) ?? []) {
    for (const box of picture.boxes) {
      const inside = x > box.x && x < box.x + SIZES.width && y >= box.y && y <= box.y + SIZES.height;
      assert.ok(!inside, `${x},${y} is in ${box.id}`);
    }
  }
  assert.equal(far?.points.length, 6);
});

test("only an edge between two critical tasks is critical", () => {
  const critical = { critical: true };
  const picture = layout(numbered([task("a", [], critical), task("b"), task("c", ["a", "b"], critical)]));
  assert.deepEqual(
    picture.edges.map((edge) => [edge.from, edge.critical]),
    [
      ["a", true],
      ["b", false],
    ],
  );
});

test("of a thousand tasks those at work, failed, waiting and critical stand alone and the rest in groups", () => {
  const tasks = numbered(
    Array.from({ length: 1000 }, (_, n) =>
      task(`t${n}`, n < 500 ? [] : [`t${n - 500}`], {
        status: n === 7 ? "failed" : n === 8 ? "implementing" : n < 500 ? "merged" : "pending",
        critical: n === 600,
      }),
    ),
  );
  const picture = layout(tasks);
  assert.deepEqual(
    picture.boxes.map((box) => box.id).sort(),
    ["group:0:merged", "group:1:pending", "t600", "t7", "t8"].sort(),
  );
  assert.equal(
    picture.boxes.reduce((sum, box) => sum + box.tasks.length, 0),
    1000,
  );
  assert.equal(picture.boxes.find((box) => box.id === "group:0:merged")?.tasks.length, 498);
  assert.ok(picture.edges.length <= 8);

  const opened = layout(tasks, new Set(["group:1:pending"]));
  assert.equal(opened.boxes.length, 4 + 499);
  assertApart(opened);
});

test("a thousand tasks at work do not stand in one column of a thousand", () => {
  const tasks = numbered(Array.from({ length: 1000 }, (_, n) => task(`t${n}`, [], { status: "implementing" })));
  const picture = layout(tasks);
  assert.equal(picture.boxes.length, 31);
  assert.equal(picture.boxes[30]?.tasks.length, 970);
});

test("arrow keys follow edges sideways and the column up and down", () => {
  const picture = layout(numbered([task("a"), task("b"), task("c", ["b"])]));
  assert.equal(step(picture, "a", "down"), "b");
  assert.equal(step(picture, "b", "up"), "a");
  assert.equal(step(picture, "b", "right"), "c");
  assert.equal(step(picture, "c", "left"), "b");
  assert.equal(step(picture, "a", "right"), "c");
  assert.equal(step(picture, "c", "right"), "c");
  assert.equal(step(picture, "gone", "left"), "a");
});

test("only what is in sight is drawn, with the edges that pass it", () => {
  const picture = layout(numbered(Array.from({ length: 40 }, (_, n) => task(`t${n}`, n === 0 ? [] : [`t${n - 1}`]))));
  const seen = within(picture, 1000, 0, 1500, 100);
  assert.ok(seen.boxes.length >= 2 && seen.boxes.length <= 4);
  assert.ok(seen.edges.length >= 2 && seen.edges.length <= 4);
});

test("a run without tasks is an empty picture", () => {
  assert.deepEqual(layout([]), { boxes: [], edges: [], width: 0, height: 0 });
});
