// What has not ended although no agent is at work on it. Pure.

import type { RunRow } from "../../api/types.ts";
import { plural } from "../../components/words.ts";

export interface Standing {
  readonly title: string;
  readonly words: string;
  /** The command to type next. */
  readonly next: string;
}

/** Null where every run has ended. */
export function standing(runs: readonly RunRow[]): Standing | null {
  const open = runs.filter((run) => run.finished_at === null);
  const first = open[0];
  if (!first) return null;
  const paused = open.filter((run) => run.status === "paused");
  const one = paused[0];
  if (one && paused.length === open.length) {
    const title = paused.length === 1 ? "A run is paused" : `${plural(paused.length, "run")} are paused`;
    return { title, words: `It goes on when you say so: ${one.goal}`, next: `quarterdeck resume ${one.run}` };
  }
  const going = open.filter((run) => run.status !== "paused");
  const named = going[0] ?? first;
  const held = named.held || named.reason;
  return {
    title: `${plural(going.length, "run")} not yet done`,
    words: `${named.goal}: ${held || "its changes are planned, checked, or wait for the gate."}`,
    next: `quarterdeck show ${named.run}`,
  };
}
