// What the made-up deck is doing: its runs, its agents and its gate.

import type { AgentRow, GateRow, RunRow } from "../src/api/types.ts";

const fleet = Number(process.argv[3] ?? 24);
export const now = () => Date.now() / 1000;
export const began = now();
const tokens = { input: 812_000, cache_read: 5_200_000, cache_write: 610_000, output: 96_000 };
const GOALS = [
  "Retry with backoff in the webhook sender, so that no event is lost while a receiver restarts",
  "Move the billing job from cron to the scheduler",
  "Typed settings: one object, no other reads of the environment",
  "Search finds names with accents",
];
const TITLES = [
  "Exponential backoff helper",
  "Sender uses the helper",
  "Settings object",
  "Fold accents",
  "Docs of retries",
];
const NAMES = ["implementer", "tester", "reviewer", "integrator", "docs"];
const WAITS = ["", "", "model", "tool shell", "approval", "environment", "tool read_file", "model"];
const USEFUL = [
  "3 files changed, +84 -12",
  "pytest: 41 passed",
  "wrote tests/test_backoff.py",
  "read src/hooks/sender.py",
];
export const pick = <T>(list: readonly T[], at: number): T => list[at % list.length] as T;

export const runs: RunRow[] = GOALS.map((goal, at) => ({
  run: `r-4xk2p9${at}q${at}ab`,
  goal,
  status: pick(["running", "waiting", "running", "paused"] as const, at),
  repository: "/srv/repos/hooks",
  branch: `quarterdeck/r-4xk2p9${at}q${at}ab`,
  user: "mara",
  created_at: began - 5400 - at * 4000,
  updated_at: began - at * 40,
  finished_at: null,
  budget_usd: 5,
  cost_usd: 1.2 + at * 0.9,
  tokens,
  tasks: { total: 8, merged: 3 + at, active: 3 - Math.min(at, 2), failed: at === 2 ? 1 : 0, waiting: at === 1 ? 1 : 0 },
  reason: "",
  held: at === 2 ? "starts: 3 of 3 in a minute" : "",
  version: 40 + at,
}));

export const agents: AgentRow[] = Array.from({ length: fleet }, (_, at) => {
  const run = pick(runs, at);
  const silent = at % 11 === 5;
  return {
    attempt: `${run.run}.task-${at}.1`,
    run: run.run,
    task: `task-${at}`,
    title: pick(TITLES, at * 7),
    agent: pick(NAMES, at * 3),
    harness: pick(["native", "acp", "command"], at),
    model: pick(["anthropic:claude-sonnet-5", "openai:gpt-6-mini", ""], at),
    node: pick(["implement", "review", "implement", "delegated"], at),
    incarnation: 1,
    steps: 12 + at,
    started_at: began - 900 - at * 13,
    last_at: began - 2,
    useful_at: silent ? began - 900 : began - (at % 9) * 7,
    useful: pick(USEFUL, at),
    cadence_s: at === 3 ? 0 : 35 + (at % 5) * 12,
    silent,
    silent_after: silent ? null : began + 40,
    waits_on: pick(WAITS, at),
    waits_since: pick(WAITS, at) ? began - 20 - at : null,
    context_tokens: 20_000 + ((at * 9137) % 150_000),
    context_window: at % 7 === 6 ? 0 : 200_000,
    spent_usd: 0.04 * ((at % 20) + 1),
    cap_usd: at % 6 === 0 ? null : 1,
    turns: 6 + (at % 40),
    max_turns: 60,
    parent: null,
  };
});

export const gates: GateRow[] = [
  {
    target: "t1",
    repository: "/srv/repos/hooks",
    branch: "main",
    tip: "3f1c9d2ab44",
    tip_green: true,
    stall: "",
    queue: TITLES.slice(0, 3).map((title, at) => ({
      attempt: `r-q.${at}.1`,
      run: runs[0]?.run ?? "",
      task: `t${at}`,
      title,
      agent: "implementer",
      state: pick(["checking", "checking", "waiting"] as const, at),
      on_top_of: Array.from({ length: at }, (_, n) => `r-q.${n}.1`),
      against: [],
      since: began - 60 * (at + 1),
      merged: "",
    })),
    checks: [],
    landed: TITLES.map((title, at) => ({
      attempt: `r-l.${at}.1`,
      run: runs[1]?.run ?? "",
      task: `t${at}`,
      title,
      commit: `a8${at}b44e9d0c1`,
      at: began - 500 * (at + 1),
      reviewed: at % 2 === 0,
      merged: at === 1 ? "merged by entity (git: conflict in src/hooks/retry.py)" : "",
      together: at < 2 ? 2 : 1,
    })),
    returned: [],
  },
];
