// What an approval is about, read from what the server would perform, beside which it is shown as it came. Pure.
// Rules: a change that is shown is the one that is asked about, by its commit, or it is said that it is not.

import type { ApprovalDetail } from "../api/types.ts";

export interface Understood {
  /** What a change would land on; empty = not said. */
  readonly into: string;
  readonly findings: readonly string[];
  /** The diff beside it is of another commit. */
  readonly other: boolean;
}

export function understood(approval: Pick<ApprovalDetail, "subject" | "diff" | "what">): Understood {
  const value = parsed(approval.subject);
  if (approval.what !== "merge" || !isRecord(value)) return { into: "", findings: [], other: false };
  const change = isRecord(value["change"]) ? value["change"] : {};
  const commit = change["commit"];
  return {
    into: typeof value["into"] === "string" ? value["into"] : "",
    findings: Array.isArray(value["findings"]) ? value["findings"].map(worded) : [],
    other: approval.diff !== null && typeof commit === "string" && !same(approval.diff.commit, commit),
  };
}

type Fields = Readonly<Record<string, unknown>>;

const isRecord = (value: unknown): value is Fields =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** JSON as it is; null for anything else, such as a plan in YAML. */
function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function worded(finding: unknown): string {
  return typeof finding === "string" ? finding : JSON.stringify(finding);
}

/** One may be abbreviated. */
const same = (a: string, b: string): boolean => a.startsWith(b) || b.startsWith(a);
