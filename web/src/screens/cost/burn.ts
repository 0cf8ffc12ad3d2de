/**
 * Spending as curves, and purses in words. Pure.
 *
 * - Stretches without spending are left out by the server; here they are put back as nothing spent, so that a curve has
 *   no slopes that never were.
 * - What a day has cost so far begins anew at each midnight, UTC: that is what the caps of a day count.
 */

import type { Costs, PurseRow } from "../../api/types.ts";

export interface Curves {
  /** Seconds since the epoch: where each stretch begins. */
  readonly at: readonly number[];
  /** USD in that stretch. */
  readonly spent: readonly number[];
  /** USD since the midnight before it, that stretch included. */
  readonly day: readonly number[];
}

const DAY = 86_400;
/** More points than a screen has pixels would only cost time. */
const MOST = 4_000;

export function curves(costs: Pick<Costs, "burn" | "burn_s">, now: number): Curves {
  const first = costs.burn[0];
  const length = costs.burn_s;
  if (!first || length <= 0) return { at: [], spent: [], day: [] };
  const known = new Map(costs.burn.map((each) => [Math.round(each.at / length), each.usd]));
  const begin = Math.floor(Math.floor(first.at / DAY) * (DAY / length));
  const end = Math.max(Math.floor(now / length), ...known.keys());
  const from = Math.max(begin, end - MOST);
  const [at, spent, day]: [number[], number[], number[]] = [[], [], []];
  let sum = 0;
  for (let place = begin; place <= end; place += 1) {
    if ((place * length) % DAY < length) sum = 0;
    const usd = known.get(place) ?? 0;
    sum += usd;
    if (place < from) continue;
    at.push(place * length);
    spent.push(usd);
    day.push(sum);
  }
  return { at, spent, day };
}

export interface Named {
  readonly purse: PurseRow;
  /** Whose it is. */
  readonly who: string;
  /** For which day; empty = for as long as it is there. */
  readonly day: string;
}

/** `deck/2026-11-21`, `user/ada/2026-11-21`, `run/r-1`: whose purse that is. */
export function named(purse: PurseRow): Named {
  const [kind = "", ...rest] = purse.purse.split("/");
  if (kind === "deck") return { purse, who: "The whole deck", day: rest.join("/") };
  if (kind === "user") return { purse, who: rest.slice(0, -1).join("/"), day: rest[rest.length - 1] ?? "" };
  return { purse, who: `${kind} ${rest.join("/")}`.trim(), day: "" };
}

/** The cap of the deck's newest day, USD; null = none is on record. */
export function deckCap(caps: readonly PurseRow[]): number | null {
  const days = caps.filter((purse) => purse.purse.startsWith("deck/")).sort((a, b) => (a.purse < b.purse ? 1 : -1));
  return days[0]?.cap_usd ?? null;
}

/** How many digits after the point a column of sums needs, so that its points stand below each other. */
export function digits(rows: Costs["rows"]): number {
  const most = rows.reduce((found, row) => Math.max(found, row.cost_usd), 0);
  return most < 1 ? 4 : most < 100 ? 3 : 2;
}

export interface Sum {
  readonly cost: number;
  readonly calls: number;
  readonly changes: number;
  readonly estimated: number;
  readonly unverified: number;
}

export function summed(rows: Costs["rows"]): Sum {
  const sum = (of: (row: Costs["rows"][number]) => number) => rows.reduce((found, row) => found + of(row), 0);
  return {
    cost: sum((row) => row.cost_usd),
    calls: sum((row) => row.calls),
    changes: sum((row) => row.changes),
    estimated: sum((row) => row.estimated_usd),
    unverified: sum((row) => row.unverified_usd),
  };
}
