// What is in the inbox: what waits for a yes or no, and what waits for an answer. Pure.
// Rules: what expires soonest comes first, then the higher risk, then what has waited longest.

import type { ApprovalRow, NeedRow } from "../../api/types.ts";

export type Item =
  | { readonly kind: "approval"; readonly id: string; readonly since: number; readonly approval: ApprovalRow }
  | { readonly kind: "question"; readonly id: string; readonly since: number; readonly need: NeedRow };

/** An expiry further away than this does not hurry anybody, in seconds. */
const HURRY = 3600;
const RISK = { high: 0, medium: 1, low: 2 };

export function items(approvals: readonly ApprovalRow[], needs: readonly NeedRow[], now: number): Item[] {
  const found: Item[] = [];
  for (const approval of approvals) {
    if (approval.status === "open")
      found.push({ kind: "approval", id: approval.approval, since: approval.since, approval });
  }
  for (const need of needs) {
    if (need.kind === "question" || need.kind === "escalated")
      found.push({ kind: "question", id: need.id, since: need.since, need });
  }
  return found.sort((a, b) => hurry(a, now) - hurry(b, now) || risk(a) - risk(b) || a.since - b.since);
}

/** Seconds until it expires, in minutes' steps, so that rows do not change places all the time. */
function hurry(item: Item, now: number): number {
  const until = item.kind === "approval" ? item.approval.expires_at : null;
  if (until === null || until - now > HURRY) return HURRY;
  return Math.ceil((until - now) / 60) * 60;
}

const risk = (item: Item): number => (item.kind === "approval" ? RISK[item.approval.risk] : RISK.medium);
