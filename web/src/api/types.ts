// What the deck's server says: its own values, and what only goes over HTTP. snake_case keys, money in USD, times in
// seconds since the epoch.

import type { NeedRow } from "./shapes.ts";

export type * from "./shapes.ts";

export type NeedAction = NeedRow["actions"][number];

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
