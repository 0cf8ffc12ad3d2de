// What the deck's server says, as it says it: snake_case keys, money in USD, times in seconds since the epoch.

export interface Tokens {
  readonly input: number;
  readonly cache_read: number;
  readonly cache_write: number;
  readonly output: number;
}

export interface TaskCounts {
  readonly total: number;
  readonly merged: number;
  readonly active: number;
  readonly failed: number;
  readonly waiting: number;
}

export interface RunRow {
  readonly run: string;
  readonly goal: string;
  readonly status: string;
  readonly repository: string;
  readonly branch: string;
  readonly user: string;
  readonly created_at: number;
  readonly updated_at: number;
  readonly finished_at: number | null;
  readonly budget_usd: number;
  readonly cost_usd: number;
  readonly tokens: Tokens;
  readonly tasks: TaskCounts;
  readonly reason: string;
  /** Why work is held back; empty where it is not. */
  readonly held: string;
  /** The length of the run's stream: what `If-Match` is compared with. */
  readonly version: number;
}

export interface TaskRow {
  readonly run: string;
  readonly task: string;
  readonly title: string;
  readonly position: number;
  readonly status: string;
  readonly agent: string;
  readonly attempt: string | null;
  readonly node: string | null;
  readonly attempts: number;
  readonly commit: string | null;
  readonly reason: string;
  readonly needs: readonly string[];
  readonly paths: readonly string[];
  /** Decides when the run ends. */
  readonly critical: boolean;
  readonly updated_at: number;
  readonly reviewed: boolean;
}

/** One agent at work on an attempt. */
export interface AgentRow {
  readonly attempt: string;
  readonly run: string;
  readonly task: string;
  readonly title: string;
  readonly agent: string;
  readonly harness: string;
  readonly model: string;
  readonly node: string;
  readonly incarnation: number;
  readonly steps: number;
  readonly started_at: number;
  readonly last_at: number;
  readonly useful_at: number;
  readonly useful: string;
  /** Its own usual gap between useful outputs, in seconds. */
  readonly cadence_s: number;
  readonly silent: boolean;
  /** Empty, or: model, tool NAME, approval, question, environment, gate, retry, … */
  readonly waits_on: string;
  readonly waits_since: number | null;
  readonly context_tokens: number;
  readonly context_window: number;
  readonly spent_usd: number;
  readonly cap_usd: number | null;
  readonly turns: number;
  readonly max_turns: number;
  readonly parent: string | null;
}

export type Severity = "now" | "soon" | "info";
export type NeedAction = "approve" | "deny" | "answer" | "resume" | "raise_budget" | "retry" | "open";

/** What needs a person, once for each cause. */
export interface NeedRow {
  readonly id: string;
  readonly cause: string;
  readonly kind: string;
  readonly severity: Severity;
  /** Higher comes first. */
  readonly rank: number;
  readonly title: string;
  readonly detail: string;
  readonly runs: readonly string[];
  readonly task: string | null;
  readonly attempt: string | null;
  readonly approval: string | null;
  readonly since: number;
  readonly count: number;
  readonly actions: readonly NeedAction[];
  /** The command that does the same in a terminal. */
  readonly next: string;
}

export interface GateQueued {
  readonly attempt: string;
  readonly run: string;
  readonly task: string;
  readonly title: string;
  readonly agent: string;
  readonly state: "waiting" | "checking" | "green" | "red" | "conflict";
  readonly on_top_of: readonly string[];
  readonly since: number;
}

export interface GateCheck {
  readonly check: string;
  readonly tip: string;
  readonly stack: readonly string[];
  readonly number: number;
  readonly started_at: number;
  readonly passed: boolean | null;
  readonly reason: string;
}

export interface GateLanded {
  readonly attempt: string;
  readonly run: string;
  readonly task: string;
  readonly title: string;
  readonly commit: string;
  readonly at: number;
  readonly reviewed: boolean;
}

export interface GateReturned {
  readonly attempt: string;
  readonly run: string;
  readonly task: string;
  readonly title: string;
  readonly outcome: string;
  readonly reason: string;
  readonly against: readonly string[];
  readonly at: number;
}

export interface GateRow {
  readonly target: string;
  readonly repository: string;
  readonly branch: string;
  readonly tip: string;
  readonly tip_green: boolean | null;
  readonly queue: readonly GateQueued[];
  readonly checks: readonly GateCheck[];
  readonly landed: readonly GateLanded[];
  readonly returned: readonly GateReturned[];
}

export type Risk = "low" | "medium" | "high";

export interface ApprovalRow {
  readonly approval: string;
  readonly what: "tool" | "plan" | "merge";
  readonly run: string;
  readonly task: string | null;
  readonly attempt: string | null;
  readonly agent: string;
  readonly title: string;
  /** Binds the answer to the exact action. */
  readonly action_hash: string;
  readonly risk: Risk;
  readonly why: readonly string[];
  readonly cost_usd: number;
  readonly since: number;
  readonly expires_at: number | null;
  readonly status: "open" | "approved" | "denied" | "expired";
  readonly by: string | null;
  readonly reason: string;
}

export interface DeckRow {
  readonly version: string;
  readonly started_at: number;
  /** An engine is owned: work goes on. */
  readonly working: boolean;
  readonly today_usd: number;
  readonly today_cap_usd: number | null;
  readonly burn_usd_h: number;
  readonly agents: number;
  readonly inbox_open: number;
  readonly inbox_limit: number | null;
  /** New work starts more slowly, because the inbox is full. */
  readonly slowed: boolean;
  /** Changes that landed without any review, of all. */
  readonly unreviewed: { readonly merged: number; readonly total: number };
  /** What keeps the deck from working; empty where nothing does. */
  readonly trouble: string;
}

export interface Snapshot {
  readonly seq: number;
  readonly at: number;
  readonly deck: DeckRow;
  readonly runs: readonly RunRow[];
  readonly agents: readonly AgentRow[];
  readonly needs: readonly NeedRow[];
  readonly gates: readonly GateRow[];
  readonly approvals: readonly ApprovalRow[];
  /** Those of the run that is followed. */
  readonly tasks?: readonly TaskRow[];
}

export interface Changes<Row> {
  readonly set: readonly Row[];
  readonly gone: readonly string[];
}

export interface Delta {
  readonly seq: number;
  readonly at: number;
  readonly deck: DeckRow | null;
  readonly runs?: Changes<RunRow>;
  readonly agents?: Changes<AgentRow>;
  readonly needs?: Changes<NeedRow>;
  readonly gates?: Changes<GateRow>;
  readonly approvals?: Changes<ApprovalRow>;
  readonly tasks?: Changes<TaskRow>;
  /** Streams of the followed run that grew, with their lengths. */
  readonly touched?: Readonly<Record<string, number>>;
}

// Read on demand.

export interface DiffLine {
  readonly kind: "+" | "-" | " ";
  readonly old: number | null;
  readonly new: number | null;
  readonly text: string;
}

export interface DiffHunk {
  readonly header: string;
  readonly lines: readonly DiffLine[];
}

export interface DiffFile {
  readonly path: string;
  readonly old_path: string | null;
  readonly status: "added" | "modified" | "deleted" | "renamed";
  readonly binary: boolean;
  readonly added: number;
  readonly removed: number;
  readonly hunks: readonly DiffHunk[];
  readonly cut: boolean;
}

export interface Diff {
  readonly base: string;
  readonly commit: string;
  readonly files: readonly DiffFile[];
  readonly cut: boolean;
}

export interface ApprovalDetail extends ApprovalRow {
  /** The exact action: the tool with its arguments, the plan as YAML, or the change. */
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

export interface AttemptRow {
  readonly attempt: string;
  readonly run: string;
  readonly task: string;
  readonly number: number;
  readonly agent: string;
  readonly status: string;
  readonly node: string | null;
  readonly outcome: string | null;
  readonly reason: string;
  readonly started_at: number | null;
  readonly finished_at: number | null;
  readonly cost_usd: number;
}

export interface FirstBad {
  readonly attempt: string;
  readonly seq: number;
  readonly at: number;
  readonly what: string;
  readonly why: string;
}

export interface RunDetail {
  readonly run: RunRow;
  readonly tasks: readonly TaskRow[];
  readonly attempts: readonly AttemptRow[];
  readonly waits: readonly unknown[];
  readonly notices: readonly unknown[];
  readonly first_bad: FirstBad | null;
  readonly report: string | null;
  readonly created: {
    readonly base: string;
    readonly into: string;
    readonly max_parallel: number;
    readonly sandbox: string;
    readonly config: readonly string[];
  };
  readonly approvals: readonly ApprovalRow[];
}

export type SpanKind = "model" | "tool" | "check" | "review" | "gate" | "wait" | "environment";

/** Columns of equal length; `end` is -1 and `ok` is -1 where a span is open. */
export interface Timeline {
  readonly lanes: readonly {
    readonly attempt: string;
    readonly task: string;
    readonly agent: string;
    readonly parent: string | null;
  }[];
  readonly labels: readonly string[];
  readonly spans: {
    readonly lane: readonly number[];
    readonly start: readonly number[];
    readonly end: readonly number[];
    readonly kind: readonly SpanKind[];
    readonly label: readonly number[];
    readonly ok: readonly (1 | 0 | -1)[];
    readonly seq: readonly number[];
  };
  readonly next: number;
}

export interface ThreadEntry {
  readonly seq: number;
  readonly at: number;
  readonly kind: "prompt" | "said" | "thought" | "call" | "result" | "note" | "human" | "event";
  readonly step: number | null;
  readonly text: string;
  readonly cut: boolean;
  readonly tool: string | null;
  readonly arguments: unknown;
  readonly ok: boolean | null;
  readonly decision: string | null;
  readonly rules: readonly string[];
  readonly flags: readonly string[];
  readonly seconds: number | null;
  readonly model: string | null;
  readonly tokens: Tokens | null;
  readonly cost_usd: number | null;
  readonly context_tokens: number | null;
}

export interface Thread {
  readonly attempt: AttemptRow;
  readonly entries: readonly ThreadEntry[];
  readonly before: number | null;
  readonly after: number | null;
}

export type CostKey = "user" | "agent" | "model" | "run" | "day";

export interface Costs {
  readonly rows: readonly {
    readonly key: string;
    readonly calls: number;
    readonly tokens: Tokens;
    readonly cost_usd: number;
    readonly estimated_usd: number;
    readonly unverified_usd: number;
    readonly changes: number;
    readonly per_change_usd: number | null;
  }[];
  readonly caps: readonly {
    readonly purse: string;
    readonly cap_usd: number | null;
    readonly settled_usd: number;
    readonly reserved_usd: number;
  }[];
  readonly burn: readonly { readonly at: number; readonly usd: number }[];
}

export interface EventRow {
  readonly id: number;
  readonly stream: string;
  readonly seq: number;
  readonly at: number;
  readonly epoch: number;
  readonly kind: string;
  readonly hash: string;
  readonly body: unknown;
}

export interface Events {
  readonly events: readonly EventRow[];
  readonly before: number | null;
}
