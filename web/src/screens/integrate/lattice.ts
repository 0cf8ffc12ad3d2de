/**
 * What a gate tests on top of what: one row for each change in the queue, one column for each tree that is checked.
 *
 * - A column's tree is the tip with its changes on top, in the order of the queue: it runs from the tip down to its last
 *   change. A check of the tip alone has no change in it.
 * - Shown are checks that run, and the newest verdict on a tree that the queue still holds. Short trees stand first, so
 *   the picture reads as the chain that it is.
 * - A check may hold a change that has left the queue; it has a row too, below the others.
 */

import type { GateCheck, GateRow, ReturnedChange } from "../../api/types.ts";

/** `in`: the change is in the tree. `past`: the tree reaches further down, without this change. */
export type Cell = "in" | "past" | "";

export interface Column {
  readonly check: GateCheck;
  readonly cells: readonly Cell[];
  readonly state: "running" | "green" | "red";
}

export interface Lattice {
  /** Attempts; those of the queue come first, in its order. */
  readonly rows: readonly string[];
  readonly columns: readonly Column[];
  /** Checks that there is no room for. */
  readonly more: number;
}

export const MOST = 12;

export function lattice(gate: Pick<GateRow, "queue" | "checks">): Lattice {
  const queued = gate.queue.map((change) => change.attempt);
  const held = new Set(queued);
  const running = gate.checks.filter((check) => check.passed === null);
  const judged = newest(gate.checks.filter((check) => check.passed !== null)).filter(
    (check) => check.stack.length > 0 && check.stack.every((attempt) => held.has(attempt)),
  );
  const busy = new Set(running.map(treeOf));
  const shown = [...running, ...judged.filter((check) => !busy.has(treeOf(check)))].sort(
    (a, b) => a.stack.length - b.stack.length || a.started_at - b.started_at,
  );
  const rows = [...new Set([...queued, ...shown.flatMap((check) => check.stack)])];
  const columns = shown.slice(0, MOST).map((check): Column => {
    const within = new Set(check.stack);
    const last = rows.reduce((found, attempt, at) => (within.has(attempt) ? at : found), -1);
    return {
      check,
      cells: rows.map((attempt, at) => (within.has(attempt) ? "in" : at < last ? "past" : "")),
      state: check.passed === null ? "running" : check.passed ? "green" : "red",
    };
  });
  return { rows, columns, more: shown.length - columns.length };
}

const treeOf = (check: GateCheck): string => `${check.tip} ${check.stack.join(" ")}`;

/** The newest verdict on each tree. */
function newest(checks: readonly GateCheck[]): GateCheck[] {
  const found = new Map<string, GateCheck>();
  for (const check of checks) {
    const known = found.get(treeOf(check));
    if (!known || known.started_at <= check.started_at) found.set(treeOf(check), check);
  }
  return [...found.values()];
}

/** What a column says in words: `tip + sender + docs`. */
export function worded(check: Pick<GateCheck, "stack" | "number">, nameOf: (attempt: string) => string): string {
  const tree = ["the tip", ...check.stack.map(nameOf)].join(" + ");
  return check.number > 1 ? `${tree}, try ${check.number}` : tree;
}

/** The gate in which something goes on comes first, then the one in which something happened last. */
export function ranked(gates: readonly GateRow[]): GateRow[] {
  const last = (gate: GateRow) => Math.max(0, gate.landed[0]?.at ?? 0, gate.returned[0]?.at ?? 0);
  const busy = (gate: GateRow) =>
    gate.queue.length + gate.checks.filter((check) => check.passed === null).length > 0 ? 1 : 0;
  return [...gates].sort((a, b) => busy(b) - busy(a) || last(b) - last(a) || a.target.localeCompare(b.target));
}

/** `merged by entity (git: conflict in a.py; union: red)`: what was done, and each way that was not taken. */
export function wayOf(said: string): { readonly way: string; readonly lost: readonly string[] } {
  const found = /^([^(]*?) \((.*)\)$/s.exec(said);
  if (!found) return { way: said, lost: [] };
  return { way: found[1] ?? "", lost: (found[2] ?? "").split(/; (?=(?:git|driver|entity|union|entity\+union): )/) };
}

/** What became of a change that was sent back: another one for its task landed, or waits in the queue. */
export function since(
  gate: Pick<GateRow, "queue" | "landed">,
  change: Pick<ReturnedChange, "run" | "task" | "attempt">,
): "landed" | "queued" | null {
  const again = (other: { readonly run: string; readonly task: string; readonly attempt: string }) =>
    other.run === change.run && other.task === change.task && other.attempt !== change.attempt;
  if (gate.landed.some(again)) return "landed";
  return gate.queue.some(again) ? "queued" : null;
}

export function unreviewed(gate: Pick<GateRow, "landed">): number {
  return gate.landed.filter((change) => !change.reviewed).length;
}
