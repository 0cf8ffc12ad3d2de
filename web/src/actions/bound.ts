// Orders that hold for a run as the person saw it.
// Rules: such an order carries the version of the run that was on the screen, and the server refuses it where the run has
// moved on. Then what the order depends on is read again: where that is as it was, the order is sent for the run as it is
// now; where it is not, nothing is done and the person is told what has changed. Pausing and cancelling are not bound: a
// brake works whatever has happened meanwhile.

import { get, part, post, Refused } from "../api/client.ts";
import type { RunDetail, RunRow } from "../api/types.ts";
import { money } from "../components/words.ts";

/** One thing that an order depends on, as a person reads it: `The budget` `$5.00`. */
export interface Fact {
  readonly what: string;
  readonly is: string;
}

export interface Seen {
  readonly run: string;
  /** Of the run as it was shown; undefined where it was not. */
  readonly version: number | undefined;
  readonly facts: readonly Fact[];
  /** The same facts of the run as it is now. */
  readonly look: (now: RunDetail) => readonly Fact[];
}

/** Nothing was done: what the order depends on has changed. */
export class Stale extends Refused {
  readonly now: RunDetail;
  /** For another try, which then counts for what is there now. */
  readonly seen: Seen;

  constructor(seen: Seen, now: RunDetail, changed: readonly string[]) {
    super({
      type: "urn:quarterdeck:stale-version",
      title: "Somebody else changed this meanwhile",
      status: CHANGED,
      detail: `Nothing was done, since the run has changed while you looked at it. ${changed.join(" ")}`,
      fix: "Do it again if it is still what you want.",
    });
    this.now = now;
    this.seen = { ...seen, version: now.run.version, facts: seen.look(now) };
  }
}

const CHANGED = 412;
/** How often a run may move on between reading it and ordering before we give up. */
const TRIES = 4;

/** Order something of a run that was looked at. Raises Stale, Refused. */
export async function postSeen<T = unknown>(path: string, order: unknown, seen: Seen): Promise<T> {
  let version = seen.version;
  for (let tried = 1; ; tried += 1) {
    try {
      return await post<T>(path, order, version === undefined ? {} : { version });
    } catch (error) {
      if (!(error instanceof Refused) || error.status !== CHANGED || tried >= TRIES) throw error;
    }
    const now = await get<RunDetail>(`runs/${part(seen.run)}`);
    const changed = news(seen.facts, seen.look(now));
    if (changed.length > 0) throw new Stale(seen, now, changed);
    version = now.run.version;
  }
}

/** What differs, a sentence each. Pure. */
export function news(seen: readonly Fact[], now: readonly Fact[]): string[] {
  const known = new Map(seen.map((fact) => [fact.what, fact.is]));
  return now
    .filter((fact) => fact.is !== known.get(fact.what))
    .map((fact) => `${fact.what} is ${fact.is} now; you saw ${known.get(fact.what) ?? "nothing"}.`);
}

const state = (run: RunRow): Fact => ({ what: "The run", is: run.status });
const open = (run: RunRow): Fact => ({ what: "The run", is: run.finished_at === null ? "not over" : run.status });
const budget = (run: RunRow): Fact => ({ what: "The budget", is: money(run.budget_usd) });
const merged = (run: RunRow): Fact => ({ what: "The number of merged tasks", is: String(run.tasks.merged) });

function seeing(run: RunRow, look: (run: RunRow) => readonly Fact[]): Seen {
  return { run: run.run, version: run.version, facts: look(run), look: (now) => look(now.run) };
}

/** Who goes on with a run saw it standing. */
export const standing = (run: RunRow): Seen => seeing(run, (row) => [state(row)]);

/** Who gives a run more saw what it has, and that it is not over: paused or not, it is the same money. */
export const funded = (run: RunRow): Seen => seeing(run, (row) => [open(row), budget(row)]);

/** Who takes a run back saw what landed. */
export const landed = (run: RunRow): Seen => seeing(run, (row) => [state(row), merged(row)]);

/** Who has a task tried again saw it end. */
export function ended(run: string, version: number | undefined, task: string, status: string): Seen {
  const fact = (is: string): Fact => ({ what: task, is });
  const look = (now: RunDetail) => [fact(now.tasks.find((row) => row.task === task)?.status ?? "gone")];
  return { run, version, facts: [fact(status)], look };
}

/** Who answers read that question. `attempt` null = the run itself asks. */
export function asked(run: string, version: number | undefined, attempt: string | null, question: string): Seen {
  const fact = (is: string): Fact => ({ what: "What is asked", is });
  const look = (now: RunDetail) => {
    const open = now.waits.filter((wait) => attempt === null || wait.attempt === attempt);
    const same = open.find((wait) => wait.question === question) ?? open[0];
    return [fact(same ? `“${same.question}”` : "nothing")];
  };
  return { run, version, facts: [fact(`“${question}”`)], look };
}
