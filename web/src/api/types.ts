// What the deck's server says: its own values, and what only goes over HTTP. snake_case keys, money in USD, times in
// seconds since the epoch.

import type { ApprovalRow, Diff, NeedRow } from "./shapes.ts";

export type * from "./shapes.ts";

export type NeedAction = NeedRow["actions"][number];

/** An approval with the exact action that is asked about. */
export interface ApprovalDetail extends ApprovalRow {
  /** The tool with its arguments, the plan as YAML, or the change. */
  readonly subject: unknown;
  readonly diff: Diff | null;
}

/** An error as RFC 9457 has it, with what to do about it. */
export interface Problem {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail?: string;
  readonly instance?: string;
  readonly fix?: string;
  readonly run?: string;
}
