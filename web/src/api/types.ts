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

/** One attempt of a run, at work or ended. Reviewers' and sub-agents' are attempts of their own. */
export interface AttemptRow {
  readonly attempt: string;
  readonly run: string;
  readonly task: string;
  readonly number: number;
  readonly agent: string;
  readonly harness: string;
  /** `running`, `finished`, `failed`, `merged`, or the outcome of a node that was not ok. */
  readonly status: string;
  readonly incarnation: number;
  readonly started_at: number;
  readonly last_at: number;
  readonly steps: number;
  readonly parent: string | null;
  readonly cost_usd: number;
  readonly tokens: Tokens;
  /** Records in its stream. */
  readonly length: number;
}

/** A question that waits for a person. */
export interface WaitRow {
  readonly task: string;
  /** Empty where the run itself waits. */
  readonly attempt: string;
  readonly question: string;
  readonly since: number;
}

/** Spending that left its own baseline. */
export interface NoticeRow {
  readonly about: string;
  readonly name: string;
  readonly at: number;
  readonly spent_usd: number;
  readonly usual_usd: number;
  readonly bound_usd: number;
  readonly samples: number;
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
  readonly waits: readonly WaitRow[];
  readonly notices: readonly NoticeRow[];
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

export interface Lane {
  readonly attempt: string;
  readonly task: string;
  readonly agent: string;
  readonly parent: string | null;
}

/** Columns of equal length; `end` is -1 and `ok` is -1 where a span is open. */
export interface Timeline {
  readonly lanes: readonly Lane[];
  readonly labels: readonly string[];
  readonly spans: {
    readonly lane: readonly number[];
    readonly start: readonly number[];
    readonly end: readonly number[];
    readonly kind: readonly SpanKind[];
    readonly label: readonly number[];
    readonly ok: readonly number[];
    /** Where it begins in the attempt's stream. */
    readonly seq: readonly number[];
  };
  /** Ask again `after` this; spans that were open come again, under the same lane and `seq`. */
  readonly next: number;
  /** There is more by now: ask again at once. */
  readonly cut: boolean;
}

export interface ThreadEntry {
  readonly seq: number;
  readonly at: number;
  readonly kind: "prompt" | "said" | "thought" | "call" | "result" | "note" | "human" | "event";
  readonly step: number;
  readonly text: string;
  /** `text` or `arguments` is longer than what is shown. */
  readonly cut: boolean;
  readonly tool: string;
  /** Of a call: JSON. */
  readonly arguments: string;
  readonly ok: boolean | null;
  /** Of a call: `allow`, `ask`, `deny`. */
  readonly decision: string;
  readonly rules: readonly string[];
  readonly flags: readonly string[];
  readonly seconds: number;
  readonly model: string;
  readonly tokens: Tokens | null;
  readonly cost_usd: number;
  readonly context_tokens: number;
}

export interface Thread {
  readonly attempt: AttemptRow;
  readonly entries: readonly ThreadEntry[];
  /** Ask `before` this for what comes earlier; null = nothing does. */
  readonly before: number | null;
  /** Ask `after` this for what comes later; null = nothing does yet. */
  readonly after: number | null;
}

export type CostBy = "user" | "agent" | "model" | "run" | "day";

export interface CostRow {
  readonly key: string;
  readonly calls: number;
  readonly tokens: Tokens;
  readonly cost_usd: number;
  /** How much of it is an estimate: the wire carried no usage. */
  readonly estimated_usd: number;
  /** How much of it is known from the agent's own words only. */
  readonly unverified_usd: number;
  /** Changes that landed; 0 for models. */
  readonly changes: number;
  readonly per_change_usd: number | null;
}

export interface PurseRow {
  readonly purse: string;
  readonly cap_usd: number | null;
  readonly settled_usd: number;
  readonly reserved_usd: number;
}

export interface Costs {
  /** The most expensive first; days in their order. */
  readonly rows: readonly CostRow[];
  readonly cut: boolean;
  readonly caps: readonly PurseRow[];
  readonly burn: readonly { readonly at: number; readonly usd: number }[];
  /** How long each stretch of `burn` is, seconds. Stretches without spending are left out. */
  readonly burn_s: number;
}

export interface EventRow {
  /** Order of commits over all streams. */
  readonly id: number;
  readonly stream: string;
  readonly seq: number;
  readonly at: number;
  readonly epoch: number;
  readonly kind: string;
  readonly hash: string;
  readonly body: Readonly<Record<string, unknown>>;
}

/** What a search of the journal found, the newest first. */
export interface Found {
  readonly events: readonly EventRow[];
  /** Go on `before` this; null = the beginning of the journal was reached. */
  readonly before: number | null;
  /** Records that were looked at. */
  readonly looked: number;
}

/** What is known about the journal's chains without computing them anew. */
export interface ChainStatus {
  readonly events: number;
  readonly streams: number;
  readonly anchored_at: number | null;
  readonly anchored_streams: number;
  readonly since_anchor: number;
}

export interface Verified {
  readonly streams: number;
  readonly records: number;
  readonly faults: readonly { readonly stream: string; readonly seq: number; readonly problem: string }[];
  readonly seconds: number;
}
