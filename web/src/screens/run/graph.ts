/**
 * The task graph of a run as columns: what is needed stands left of what needs it.
 *
 * - A task's column is the longest way to it from a task without needs. A need that names no task, or that would close
 *   a circle, draws no edge: a picture is shown in any case.
 * - Over `GROUP_OVER` tasks, tasks in which nothing happens stand together, one group for each column and state. What
 *   is at work, has failed, waits, or decides when the run ends always stands for itself, up to a limit per column.
 * - The reading order (column by column, top to bottom) is one list. The picture, the arrow keys and the table beside it
 *   all follow it.
 */

export interface GraphTask {
  task: string;
  position: number;
  status: string;
  needs: readonly string[];
  critical: boolean;
}

/** One box of the picture: one task, or a group of tasks in one state. */
export interface Box {
  id: string;
  tasks: readonly string[];
  status: string;
  critical: boolean;
  column: number;
  x: number;
  y: number;
}

export interface Edge {
  from: string;
  to: string;
  critical: boolean;
  /** Where it leaves, where it bends, where it arrives: pixels. */
  points: readonly (readonly [number, number])[];
}

export interface Picture {
  boxes: readonly Box[];
  edges: readonly Edge[];
  width: number;
  height: number;
}

export interface Sizes {
  width: number;
  height: number;
  columnGap: number;
  rowGap: number;
}

export const SIZES: Sizes = { width: 216, height: 46, columnGap: 56, rowGap: 10 };
export const GROUP_OVER = 60;
export const PER_COLUMN = 30;

const QUIET = new Set(["pending", "merged", "blocked", "cancelled"]);
const FIRST = ["failed", "waiting", "implementing", "checking", "reviewing", "gating"];
/** An edge over many columns keeps a free way between the boxes, unless there are so many that nobody could follow one. */
const MAX_BENDS = 3_000;
const BEND_HEIGHT = 6;
const SWEEPS = 6;

interface Placed {
  column: number;
  needs: readonly string[];
}

/** Each task's column, and those of its needs that are drawn. Circles are cut at the task that stands first in the plan. */
export function columns(tasks: readonly GraphTask[]): Map<string, Placed> {
  const inOrder = [...tasks].sort((a, b) => a.position - b.position);
  const known = new Set(inOrder.map((task) => task.task));
  const needs = new Map(inOrder.map((task) => [task.task, [...new Set(task.needs)].filter((need) => known.has(need))]));
  const open = new Map(inOrder.map((task) => [task.task, needs.get(task.task)?.length ?? 0]));
  const dependents = new Map<string, string[]>();
  for (const [task, of] of needs) for (const need of of) push(dependents, need, task);

  const placed = new Map<string, Placed>();
  const ready = inOrder.filter((task) => open.get(task.task) === 0).map((task) => task.task);
  let next = 0;
  for (let cut = 0; placed.size < known.size; ) {
    if (next === ready.length) {
      while (placed.has(inOrder[cut]?.task as string)) cut += 1;
      ready.push(inOrder[cut]?.task as string);
    }
    const task = ready[next++] as string;
    if (placed.has(task)) continue;
    const drawn = (needs.get(task) as string[]).filter((need) => placed.has(need));
    const column = drawn.reduce((most, need) => Math.max(most, (placed.get(need) as Placed).column + 1), 0);
    placed.set(task, { column, needs: drawn });
    for (const dependent of dependents.get(task) ?? []) {
      const left = (open.get(dependent) as number) - 1;
      open.set(dependent, left);
      if (left === 0) ready.push(dependent);
    }
  }
  return placed;
}

interface Group {
  id: string;
  tasks: GraphTask[];
  status: string;
  critical: boolean;
  column: number;
}

/** What stands in one box. `open` names the groups that a person has opened. */
export function boxes(tasks: readonly GraphTask[], placed: Map<string, Placed>, open: ReadonlySet<string>): Group[] {
  const inOrder = [...tasks].sort((a, b) => a.position - b.position);
  const single = (task: GraphTask): Group => ({
    id: task.task,
    tasks: [task],
    status: task.status,
    critical: task.critical,
    column: placed.get(task.task)?.column ?? 0,
  });
  if (tasks.length <= GROUP_OVER) return inOrder.map(single);

  const groups = new Map<string, Group>();
  const alone = new Map<number, number>();
  const found: Group[] = [];
  for (const task of [...inOrder].sort((a, b) => urgency(a) - urgency(b))) {
    const { column } = placed.get(task.task) as Placed;
    const id = `group:${column}:${task.status}`;
    const count = alone.get(column) ?? 0;
    const shown = (task.critical || !QUIET.has(task.status)) && count < PER_COLUMN;
    if (shown || open.has(id)) {
      if (shown) alone.set(column, count + 1);
      found.push(single(task));
      continue;
    }
    const group = groups.get(id) ?? { id, tasks: [], status: task.status, critical: false, column };
    if (group.tasks.length === 0) found.push(group);
    groups.set(id, group);
    group.tasks.push(task);
    group.critical ||= task.critical;
  }
  const lonely = (group: Group) => (group.tasks.length === 1 ? single(group.tasks[0] as GraphTask) : group);
  return found.map(lonely).sort((a, b) => first(a) - first(b));
}

function urgency(task: GraphTask): number {
  const place = FIRST.indexOf(task.status);
  return (task.critical ? -10 : 0) + (place < 0 ? FIRST.length : place);
}

function first(group: Group): number {
  return (group.tasks[0] as GraphTask).position;
}

/** One thing in a column: a box, or the bend of an edge that passes by. */
interface Item {
  id: string;
  group: Group | null;
  column: number;
  left: Item[];
  right: Item[];
  height: number;
  y: number;
}

/** Groups stand below what stands alone, and edges that pass by below both. */
function quietness({ group }: Item): number {
  return group === null ? 2 : group.tasks.length > 1 ? 1 : 0;
}

interface Way {
  from: Item;
  to: Item;
  bends: Item[];
  critical: boolean;
}

/** The picture of these tasks. Pure, and the same for the same tasks. */
export function layout(
  tasks: readonly GraphTask[],
  open: ReadonlySet<string> = new Set(),
  sizes: Sizes = SIZES,
): Picture {
  const placed = columns(tasks);
  const groups = boxes(tasks, placed, open);
  const { rows, ways } = items(groups, placed, sizes);
  order(rows);
  if (groups.length < tasks.length) for (const row of rows) row.sort((a, b) => quietness(a) - quietness(b));
  // Where groups stand for many, a level top is easier to read than short edges.
  const height = stack(rows, sizes, groups.length === tasks.length);
  const step = sizes.width + sizes.columnGap;
  return {
    boxes: rows.flatMap((row) =>
      row.flatMap(({ group, y, column }) =>
        group === null ? [] : [{ ...group, tasks: group.tasks.map((task) => task.task), column, x: column * step, y }],
      ),
    ),
    edges: ways.map((way) => drawn(way, sizes)),
    width: Math.max(0, rows.length * step - sizes.columnGap),
    height,
  };
}

function items(groups: readonly Group[], placed: Map<string, Placed>, sizes: Sizes): { rows: Item[][]; ways: Way[] } {
  const rows: Item[][] = [];
  const boxOf = new Map<string, Item>();
  const add = (id: string, group: Group | null, column: number): Item => {
    const height = group === null ? BEND_HEIGHT : sizes.height;
    const item: Item = { id, group, column, left: [], right: [], height, y: 0 };
    while (rows.length <= column) rows.push([]);
    (rows[column] as Item[]).push(item);
    return item;
  };
  for (const group of groups) {
    const item = add(group.id, group, group.column);
    for (const task of group.tasks) boxOf.set(task.task, item);
  }

  const ways = new Map<string, Way>();
  let bends = 0;
  for (const group of groups) {
    for (const task of group.tasks) {
      const to = boxOf.get(task.task) as Item;
      for (const need of placed.get(task.task)?.needs ?? []) {
        const from = boxOf.get(need) as Item;
        const id = `${from.id}>${to.id}`;
        const critical =
          task.critical && (from.group as Group).tasks.some((each) => each.task === need && each.critical);
        const known = ways.get(id);
        if (known !== undefined) {
          known.critical ||= critical;
          continue;
        }
        const way: Way = { from, to, bends: [], critical };
        let last = from;
        for (let column = from.column + 1; column < to.column && bends < MAX_BENDS; column += 1, bends += 1) {
          const bend = add(`${id}@${column}`, null, column);
          join(last, bend);
          way.bends.push(bend);
          last = bend;
        }
        join(last, to);
        ways.set(id, way);
      }
    }
  }
  return { rows, ways: [...ways.values()] };
}

function join(from: Item, to: Item): void {
  from.right.push(to);
  to.left.push(from);
}

/** Orders each column by where its neighbours stand, from left to right and back, so that few edges cross. */
function order(rows: Item[][]): void {
  const place = new Map<Item, number>();
  const number = (row: Item[]) => {
    for (const [index, item] of row.entries()) place.set(item, index / row.length);
  };
  const sort = (row: Item[], side: "left" | "right") => {
    const key = new Map<Item, number>();
    for (const item of row) {
      const near = item[side].map((other) => place.get(other) as number);
      key.set(item, mean(near, place.get(item) as number));
    }
    row.sort((a, b) => (key.get(a) as number) - (key.get(b) as number));
    number(row);
  };
  for (const row of rows) number(row);
  // The last sweep goes from left to right: that is how it is read.
  for (let sweep = 0; sweep <= SWEEPS; sweep += 1) {
    const rightwards = sweep % 2 === 0;
    for (const row of rightwards ? rows : [...rows].reverse()) sort(row, rightwards ? "left" : "right");
  }
}

/** Stacks each column and, `settling`, moves boxes towards their neighbours where there is room. Returns the height, pixels. */
function stack(rows: Item[][], sizes: Sizes, settling: boolean): number {
  for (const row of rows) {
    let y = 0;
    for (const item of row) {
      item.y = y;
      y += item.height + sizes.rowGap;
    }
  }
  for (let sweep = 0; settling && sweep < SWEEPS; sweep += 1) {
    const side = sweep % 2 === 0 ? "left" : "right";
    for (const row of side === "left" ? rows : [...rows].reverse()) settle(row, side, sizes.rowGap);
  }
  const all = rows.flat();
  const top = all.reduce((least, item) => Math.min(least, item.y), Number.POSITIVE_INFINITY);
  for (const item of all) item.y = Math.round(item.y - top);
  return all.reduce((most, item) => Math.max(most, item.y + item.height), 0);
}

/** Gives each item the height of its neighbours' middle, in order and without overlaps (pooling those that collide). */
function settle(row: Item[], side: "left" | "right", gap: number): void {
  const pools: { items: Item[]; offsets: number[]; wish: number; length: number }[] = [];
  for (const item of row) {
    const middle = mean(
      item[side].map((other) => other.y + other.height / 2),
      item.y + item.height / 2,
    );
    let pool = { items: [item], offsets: [0], wish: middle - item.height / 2, length: item.height + gap };
    for (let above = pools[pools.length - 1]; above !== undefined && above.wish + above.length > pool.wish; ) {
      pools.pop();
      const count = above.items.length + pool.items.length;
      // Each of the lower pool wishes to stand where it did: seen from the top of both together.
      const wish = (above.wish * above.items.length + (pool.wish - above.length) * pool.items.length) / count;
      const shift = above.length;
      pool = {
        items: [...above.items, ...pool.items],
        offsets: [...above.offsets, ...pool.offsets.map((offset) => offset + shift)],
        wish,
        length: above.length + pool.length,
      };
      above = pools[pools.length - 1];
    }
    pools.push(pool);
  }
  for (const pool of pools) {
    for (const [index, item] of pool.items.entries()) item.y = pool.wish + (pool.offsets[index] as number);
  }
}

function drawn(way: Way, sizes: Sizes): Edge {
  const step = sizes.width + sizes.columnGap;
  const middle = (item: Item) => item.y + item.height / 2;
  const points: [number, number][] = [[way.from.column * step + sizes.width, middle(way.from)]];
  for (const bend of way.bends) {
    points.push([bend.column * step, middle(bend)], [bend.column * step + sizes.width, middle(bend)]);
  }
  points.push([way.to.column * step, middle(way.to)]);
  return { from: way.from.id, to: way.to.id, critical: way.critical, points };
}

function mean(values: readonly number[], otherwise: number): number {
  return values.length === 0 ? otherwise : values.reduce((sum, value) => sum + value, 0) / values.length;
}

function push<K, V>(map: Map<K, V[]>, key: K, value: V): void {
  const found = map.get(key);
  if (found === undefined) map.set(key, [value]);
  else found.push(value);
}
