// Which runs are meant by what a person chose and typed. Pure.

import type { RunRow } from "../../api/types.ts";

export const WHICH = [
  ["all", "All"],
  ["open", "Under way"],
  ["waiting", "Waiting"],
  ["failed", "Not done"],
] as const;
export type Which = (typeof WHICH)[number][0];

/** Every word has to stand somewhere in what is known of the run. */
export function matches(run: RunRow, which: Which, words: string): boolean {
  if (which === "open" && run.finished_at !== null) return false;
  if (which === "waiting" && run.status !== "waiting" && run.status !== "paused") return false;
  if (which === "failed" && !["failed", "partial", "cancelled"].includes(run.status)) return false;
  const text = `${run.goal} ${run.run} ${run.repository} ${run.branch} ${run.user} ${run.status}`.toLowerCase();
  return words
    .toLowerCase()
    .split(/\s+/)
    .every((word) => text.includes(word));
}
