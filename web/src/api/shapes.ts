// What the deck's server says. Written by `make docs` from the server's own values: change those.

export type Node = "plan" | "dispatch" | "implement" | "check" | "review" | "approve" | "gate" | "report" | "retrospective";

export type Outcome = "ok" | "failed" | "change" | "conflict" | "held" | "waiting" | "exhausted" | "cancelled";

export type RunStatus = "created" | "planning" | "running" | "paused" | "waiting" | "done" | "partial" | "failed" | "cancelled";

export type TaskStatus = "pending" | "implementing" | "checking" | "reviewing" | "gating" | "waiting" | "merged" | "failed" | "blocked" | "cancelled";

export type Topic = "deck" | "runs" | "agents" | "needs" | "gates" | "approvals";

// Tokens by how they are priced; the four counts do not overlap.
export interface Tokens {
  readonly input: number;
  readonly cache_read: number;
  readonly cache_write: number;
  readonly output: number;
}

// A run's tasks by where they stand.
export interface TaskCounts {
  readonly total: number;
  readonly merged: number;
  readonly active: number;
  readonly failed: number;
  readonly waiting: number;
}

// One run. Key: `run`.
export interface RunRow {
  readonly run: string;
  readonly goal: string;
  readonly status: RunStatus;
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
  readonly held: string;
  readonly version: number;
}

// One task of the run that is followed. Key: `task`.
export interface TaskRow {
  readonly run: string;
  readonly task: string;
  readonly title: string;
  readonly position: number;
  readonly status: TaskStatus;
  readonly agent: string;
  readonly attempt: string | null;
  readonly node: Node | null;
  readonly attempts: number;
  readonly commit: string | null;
  readonly reason: string;
  readonly needs: readonly string[];
  readonly paths: readonly string[];
  readonly critical: boolean;
  readonly updated_at: number;
  readonly reviewed: boolean;
}

// An attempt at which an agent works. Key: `attempt`.
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
  readonly cadence_s: number;
  readonly silent: boolean;
  readonly silent_after: number | null;
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

export type NeedKind = "approval" | "question" | "escalated" | "incident" | "silent" | "budget" | "notice" | "failed" | "infrastructure";

export type Severity = "now" | "soon" | "info";

export type Action = "approve" | "deny" | "answer" | "resume" | "raise_budget" | "retry" | "open";

// Something that needs a person, once for each cause. Key: `id`.
export interface NeedRow {
  readonly id: string;
  readonly cause: string;
  readonly kind: "approval" | "question" | "escalated" | "incident" | "silent" | "budget" | "notice" | "failed" | "infrastructure";
  readonly severity: "now" | "soon" | "info";
  readonly rank: number;
  readonly title: string;
  readonly detail: string;
  readonly runs: readonly string[];
  readonly task: string | null;
  readonly attempt: string | null;
  readonly approval: string | null;
  readonly since: number;
  readonly count: number;
  readonly actions: readonly ("approve" | "deny" | "answer" | "resume" | "raise_budget" | "retry" | "open")[];
  readonly next: string;
}

// A change in a gate's queue.
export interface QueuedChange {
  readonly attempt: string;
  readonly run: string;
  readonly task: string;
  readonly title: string;
  readonly agent: string;
  readonly state: "waiting" | "checking" | "green" | "red" | "conflict";
  readonly on_top_of: readonly string[];
  readonly against: readonly string[];
  readonly since: number;
  readonly merged: string;
}

// A check of a merged tree.
export interface GateCheck {
  readonly check: string;
  readonly tip: string;
  readonly stack: readonly string[];
  readonly number: number;
  readonly started_at: number;
  readonly passed: boolean | null;
  readonly reason: string;
}

// A change that the target was moved to.
export interface LandedChange {
  readonly attempt: string;
  readonly run: string;
  readonly task: string;
  readonly title: string;
  readonly commit: string;
  readonly at: number;
  readonly reviewed: boolean;
  readonly merged: string;
  readonly together: number;
}

// A change that left the queue without landing.
export interface ReturnedChange {
  readonly attempt: string;
  readonly run: string;
  readonly task: string;
  readonly title: string;
  readonly outcome: Outcome;
  readonly reason: string;
  readonly against: readonly string[];
  readonly at: number;
  readonly tried: string;
}

// The merge gate of one branch. Key: `target`.
export interface GateRow {
  readonly target: string;
  readonly repository: string;
  readonly branch: string;
  readonly tip: string;
  readonly tip_green: boolean | null;
  readonly stall: string;
  readonly queue: readonly QueuedChange[];
  readonly checks: readonly GateCheck[];
  readonly landed: readonly LandedChange[];
  readonly returned: readonly ReturnedChange[];
}

export type ApprovalWhat = "tool" | "plan" | "merge" | "revert";

export type Risk = "low" | "medium" | "high";

// What a person is asked to allow. Key: `approval`.
export interface ApprovalRow {
  readonly approval: string;
  readonly what: "tool" | "plan" | "merge" | "revert";
  readonly run: string;
  readonly task: string | null;
  readonly attempt: string | null;
  readonly agent: string;
  readonly title: string;
  readonly action_hash: string;
  readonly risk: "low" | "medium" | "high";
  readonly why: readonly string[];
  readonly cost_usd: number;
  readonly since: number;
  readonly expires_at: number | null;
  readonly status: "open" | "approved" | "denied" | "expired";
  readonly by: string | null;
  readonly reason: string;
}

// How much landed that nobody has looked at.
export interface Unreviewed {
  readonly merged: number;
  readonly total: number;
}

// The deck as a whole.
export interface DeckRow {
  readonly version: string;
  readonly started_at: number;
  readonly working: boolean;
  readonly today_usd: number;
  readonly today_cap_usd: number | null;
  readonly burn_usd_h: number;
  readonly agents: number;
  readonly inbox_open: number;
  readonly inbox_limit: number | null;
  readonly slowed: boolean;
  readonly unreviewed: Unreviewed;
  readonly trouble: string;
}

// Everything of the topics that were asked for, at one moment.
export interface Snapshot {
  readonly seq: number;
  readonly at: number;
  readonly deck: DeckRow | null;
  readonly runs: readonly RunRow[];
  readonly agents: readonly AgentRow[];
  readonly needs: readonly NeedRow[];
  readonly gates: readonly GateRow[];
  readonly approvals: readonly ApprovalRow[];
  readonly run: string | null;
  readonly tasks: readonly TaskRow[];
}

// What changed among the rows of one kind.
export interface Changes<Row> {
  readonly set: readonly Row[];
  readonly changed: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
  readonly gone: readonly string[];
}

// What changed since the snapshot or delta before it.
export interface Delta {
  readonly seq: number;
  readonly at: number;
  readonly deck: DeckRow | null;
  readonly runs: Changes<RunRow>;
  readonly agents: Changes<AgentRow>;
  readonly needs: Changes<NeedRow>;
  readonly gates: Changes<GateRow>;
  readonly approvals: Changes<ApprovalRow>;
  readonly tasks: Changes<TaskRow>;
  readonly touched: Readonly<Record<string, number>>;
}

// One attempt of a run, at work or ended. Reviewers' and sub-agents' are attempts of their own.
export interface AttemptRow {
  readonly attempt: string;
  readonly run: string;
  readonly task: string;
  readonly number: number;
  readonly agent: string;
  readonly harness: string;
  readonly status: string;
  readonly incarnation: number;
  readonly started_at: number;
  readonly last_at: number;
  readonly steps: number;
  readonly parent: string | null;
  readonly cost_usd: number;
  readonly tokens: Tokens;
  readonly length: number;
}

// A question that waits for a person.
export interface WaitRow {
  readonly task: string;
  readonly attempt: string;
  readonly question: string;
  readonly since: number;
}

// Spending that left its own baseline.
export interface NoticeRow {
  readonly about: string;
  readonly name: string;
  readonly at: number;
  readonly spent_usd: number;
  readonly usual_usd: number;
  readonly bound_usd: number;
  readonly samples: number;
}

// The first step that went wrong on the way to where the run stands now.
export interface FirstBad {
  readonly attempt: string;
  readonly seq: number;
  readonly at: number;
  readonly what: string;
  readonly why: string;
}

// How a run was ordered.
export interface Created {
  readonly base: string;
  readonly into: string;
  readonly max_parallel: number;
  readonly sandbox: string;
  readonly config: readonly string[];
}

// One run with everything that is not live.
export interface RunDetail {
  readonly run: RunRow;
  readonly tasks: readonly TaskRow[];
  readonly attempts: readonly AttemptRow[];
  readonly waits: readonly WaitRow[];
  readonly notices: readonly NoticeRow[];
  readonly first_bad: FirstBad | null;
  readonly report: string | null;
  readonly created: Created;
  readonly approvals: readonly ApprovalRow[];
}

export type SpanKind = "model" | "tool" | "check" | "review" | "gate" | "wait" | "environment";

// One attempt's line in a timeline.
export interface Lane {
  readonly attempt: string;
  readonly task: string;
  readonly agent: string;
  readonly parent: string | null;
}

// Spans by column; all columns have the same length.
export interface Spans {
  readonly lane: readonly number[];
  readonly start: readonly number[];
  readonly end: readonly number[];
  readonly kind: readonly ("model" | "tool" | "check" | "review" | "gate" | "wait" | "environment")[];
  readonly label: readonly number[];
  readonly ok: readonly number[];
  readonly seq: readonly number[];
}

// What a run did and when.
export interface Timeline {
  readonly lanes: readonly Lane[];
  readonly labels: readonly string[];
  readonly spans: Spans;
  readonly next: number;
  readonly cut: boolean;
}

export type EntryKind = "prompt" | "said" | "thought" | "call" | "result" | "note" | "human" | "event";

// One thing that an agent was told, said or did.
export interface ThreadEntry {
  readonly seq: number;
  readonly at: number;
  readonly kind: "prompt" | "said" | "thought" | "call" | "result" | "note" | "human" | "event";
  readonly step: number;
  readonly text: string;
  readonly cut: boolean;
  readonly tool: string;
  readonly arguments: string;
  readonly ok: boolean | null;
  readonly decision: string;
  readonly rules: readonly string[];
  readonly flags: readonly string[];
  readonly seconds: number;
  readonly model: string;
  readonly tokens: Tokens | null;
  readonly cost_usd: number;
  readonly context_tokens: number;
}

// A part of an attempt's thread, in order.
export interface Thread {
  readonly attempt: AttemptRow;
  readonly entries: readonly ThreadEntry[];
  readonly before: number | null;
  readonly after: number | null;
}

// One line of a hunk.
export interface DiffLine {
  readonly kind: "+" | "-" | " ";
  readonly old: number | null;
  readonly new: number | null;
  readonly text: string;
}

export interface Hunk {
  readonly header: string;
  readonly lines: readonly DiffLine[];
}

// What a change does to one file.
export interface DiffFile {
  readonly path: string;
  readonly old_path: string | null;
  readonly status: "added" | "modified" | "deleted" | "renamed";
  readonly binary: boolean;
  readonly added: number;
  readonly removed: number;
  readonly hunks: readonly Hunk[];
  readonly cut: boolean;
}

// What an attempt's change does.
export interface Diff {
  readonly base: string;
  readonly commit: string;
  readonly files: readonly DiffFile[];
  readonly cut: boolean;
}

// What a person is asked to allow, exactly.
export interface ApprovalDetail {
  readonly approval: string;
  readonly what: "tool" | "plan" | "merge" | "revert";
  readonly run: string;
  readonly task: string | null;
  readonly attempt: string | null;
  readonly agent: string;
  readonly title: string;
  readonly action_hash: string;
  readonly risk: "low" | "medium" | "high";
  readonly why: readonly string[];
  readonly cost_usd: number;
  readonly since: number;
  readonly expires_at: number | null;
  readonly status: "open" | "approved" | "denied" | "expired";
  readonly by: string | null;
  readonly reason: string;
  readonly subject: string;
  readonly cut: boolean;
  readonly diff: Diff | null;
}

export type CostBy = "user" | "agent" | "model" | "run" | "day";

// What one user, agent, model, run or day has cost.
export interface CostRow {
  readonly key: string;
  readonly calls: number;
  readonly tokens: Tokens;
  readonly cost_usd: number;
  readonly estimated_usd: number;
  readonly unverified_usd: number;
  readonly changes: number;
  readonly per_change_usd: number | null;
}

// Money for one thing.
export interface PurseRow {
  readonly purse: string;
  readonly cap_usd: number | null;
  readonly settled_usd: number;
  readonly reserved_usd: number;
}

// What a stretch of time has cost.
export interface Burn {
  readonly at: number;
  readonly usd: number;
}

// Money by one dimension.
export interface Costs {
  readonly rows: readonly CostRow[];
  readonly cut: boolean;
  readonly caps: readonly PurseRow[];
  readonly burn: readonly Burn[];
  readonly burn_s: number;
}

// One record of the journal.
export interface EventRow {
  readonly id: number;
  readonly stream: string;
  readonly seq: number;
  readonly at: number;
  readonly epoch: number;
  readonly kind: string;
  readonly hash: string;
  readonly body: Readonly<Record<string, unknown>>;
}

// What a search of the journal found, the newest first.
export interface Found {
  readonly events: readonly EventRow[];
  readonly before: number | null;
  readonly looked: number;
}

export interface ChainFaultRow {
  readonly stream: string;
  readonly seq: number;
  readonly problem: string;
}

// What is known about the journal's chains without computing them anew.
export interface ChainStatus {
  readonly events: number;
  readonly streams: number;
  readonly anchored_at: number | null;
  readonly anchored_streams: number;
  readonly since_anchor: number;
}

// What a check of the chains found.
export interface Verified {
  readonly streams: number;
  readonly records: number;
  readonly faults: readonly ChainFaultRow[];
  readonly seconds: number;
}
