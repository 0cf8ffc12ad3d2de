// A made-up deck to look at screens with while they are drawn: `node dev/fixture.ts [PORT] [AGENTS]` serves it with the
// built dashboard. Nothing here is shipped or tested against; what is true of a deck is what its journal says.

import { readFileSync } from "node:fs";
import { createServer, type ServerResponse } from "node:http";
import { extname, join, normalize } from "node:path";
import type {
  AgentRow,
  ApprovalDetail,
  DeckRow,
  GateRow,
  NeedRow,
  RunRow,
  Snapshot,
  TaskRow,
} from "../src/api/types.ts";

const port = Number(process.argv[2] ?? 7399);
const fleet = Number(process.argv[3] ?? 24);
const BUILT = new URL("../../src/quarterdeck/web/", import.meta.url).pathname;
const TYPES: Record<string, string> = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".css": "text/css",
  ".svg": "image/svg+xml",
};
const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const now = () => Date.now() / 1000;
const began = now();
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
const pick = <T>(list: readonly T[], at: number): T => list[at % list.length] as T;

const runs: RunRow[] = GOALS.map((goal, at) => ({
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

const agents: AgentRow[] = Array.from({ length: fleet }, (_, at) => {
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

const HASH = "9f2c1b7d40aa5e6b8c3d9f2c1b7d40aa";
const approvals: ApprovalDetail[] = [
  {
    approval: "ap-1",
    what: "tool",
    run: runs[0]?.run ?? "",
    task: "task-0",
    attempt: agents[0]?.attempt ?? null,
    agent: "implementer",
    title: "Run `alembic upgrade head` against the staging database",
    action_hash: HASH,
    risk: "high",
    why: ["policy: commands that change a database ask", "network: staging-db is not on the allow-list"],
    cost_usd: 0.412,
    since: began - 340,
    expires_at: began + 3600 * 5,
    status: "open",
    by: null,
    reason: "",
    subject: JSON.stringify(
      { tool: "shell", arguments: { command: "alembic upgrade head", note: "<img src=x onerror=alert(1)>" } },
      null,
      2,
    ),
    cut: false,
    diff: null,
  },
  {
    approval: "ap-2",
    what: "merge",
    run: runs[1]?.run ?? "",
    task: "task-1",
    attempt: agents[1]?.attempt ?? null,
    agent: "tester",
    title: "Merge: the sender uses the backoff helper",
    action_hash: HASH.split("").reverse().join(""),
    risk: "medium",
    why: ["changes CI", "touches a file outside of the plan's paths"],
    cost_usd: 0.88,
    since: began - 1900,
    expires_at: began + 1500,
    status: "open",
    by: null,
    reason: "",
    subject: JSON.stringify({ change: { commit: "a81b44e" }, into: "main", findings: [] }),
    cut: false,
    diff: {
      base: "3f1c9d2",
      commit: "a81b44e",
      cut: false,
      files: [
        {
          path: "src/hooks/sender.py",
          old_path: null,
          status: "modified",
          binary: false,
          added: 4,
          removed: 2,
          cut: false,
          hunks: [
            {
              header: "@@ -12,7 +12,9 @@ def send(event: Event) -> None:",
              lines: [
                { kind: " ", old: 12, new: 12, text: "    body = event.encode()" },
                { kind: "-", old: 13, new: null, text: "    http.post(url, body)" },
                { kind: "-", old: 14, new: null, text: "    return" },
                { kind: "+", old: null, new: 13, text: "    for wait in backoff(tries=5, first=0.2):" },
                { kind: "+", old: null, new: 14, text: "        if http.post(url, body).ok:" },
                { kind: "+", old: null, new: 15, text: "            return" },
                { kind: "+", old: null, new: 16, text: "        sleep(wait)" },
                { kind: " ", old: 15, new: 17, text: "" },
              ],
            },
          ],
        },
      ],
    },
  },
  {
    approval: "ap-3",
    what: "plan",
    run: runs[3]?.run ?? "",
    task: null,
    attempt: null,
    agent: "planner",
    title: "Carry out a plan of 8 tasks",
    action_hash: HASH.replace("9", "1"),
    risk: "low",
    why: ["[approve] plan = always"],
    cost_usd: 0.031,
    since: began - 60,
    expires_at: null,
    status: "open",
    by: null,
    reason: "",
    subject:
      "v: 1\ngoal: Search finds names with accents\ntasks:\n  - id: fold\n    title: Fold accents\n    paths: [src/search/fold.py]\n    verify: [pytest -q tests/test_fold.py]\n",
    cut: false,
    diff: null,
  },
];

const need = (at: number, row: Partial<NeedRow>): NeedRow => ({
  id: `n${at}`,
  cause: `cause-${at}`,
  kind: "notice",
  severity: "soon",
  rank: 100 - at,
  title: "",
  detail: "",
  runs: [pick(runs, at).run],
  task: null,
  attempt: null,
  approval: null,
  since: began - 300 * (at + 1),
  count: 1,
  actions: ["open"],
  next: "",
  ...row,
});

let needs: NeedRow[] = [
  need(0, {
    kind: "infrastructure",
    severity: "now",
    title: "The disk is full: no attempt can start",
    detail: "412 MB are left on the volume of the deck's home, 2 GB are needed.",
    runs: runs.map((run) => run.run),
    count: 4,
    next: "quarterdeck doctor",
    actions: [],
  }),
  need(1, {
    kind: "approval",
    severity: "now",
    title: approvals[0]?.title ?? "",
    detail: "implementer asks; the action is high risk and the agent waits",
    approval: "ap-1",
    next: "quarterdeck approve ap-1",
    actions: ["approve", "deny", "open"],
  }),
  need(2, {
    kind: "question",
    severity: "now",
    title: "Which status codes count as a failure that is worth a retry?",
    detail:
      "The plan says “server errors”. 429 carries Retry-After: may the sender honour it, or does the receiver's contract say five tries and no more?",
    attempt: agents[2]?.attempt ?? null,
    next: 'quarterdeck answer r-4xk2p90q0ab "…"',
    actions: ["answer", "open"],
  }),
  need(3, {
    kind: "silent",
    title: "3 agents are silent",
    detail: "No useful output for 15 min; their usual gap is 40 s. All wait on the same model.",
    count: 3,
    attempt: agents[5]?.attempt ?? null,
    next: `quarterdeck logs ${agents[5]?.attempt}`,
    actions: ["open"],
  }),
  need(4, {
    kind: "budget",
    title: "A run has spent 92% of its budget",
    detail: "$4.60 of $5.00, 2 of 8 tasks are not merged.",
    next: "quarterdeck resume r-4xk2p90q0ab --budget 8",
    actions: ["raise_budget", "open"],
  }),
  need(5, {
    kind: "failed",
    severity: "info",
    title: "A task failed three times at the same test",
    detail: "tests/test_scheduler.py::test_two_at_once",
    task: "task-3",
    next: "quarterdeck show r-4xk2p92q2ab",
    actions: ["retry", "open"],
  }),
];

const gates: GateRow[] = [
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

const deck = (): DeckRow => ({
  version: "0.1.0",
  started_at: began,
  working: true,
  today_usd: 41.2 + (now() - began) / 100,
  today_cap_usd: 50,
  burn_usd_h: 6.4,
  agents: agents.length,
  inbox_open: approvals.length + 1,
  inbox_limit: 10,
  slowed: false,
  unreviewed: { merged: 3, total: 41 },
  trouble: process.argv.includes("trouble") ? "disk full: 412 MB left of the 2 GB that are needed" : "",
});

let seq = 1;
const empty = process.argv.includes("empty");
const snapshot = (run: string | null): Snapshot => ({
  seq,
  at: now(),
  deck: empty
    ? { ...deck(), agents: 0, inbox_open: 0, today_usd: 0, burn_usd_h: 0, unreviewed: { merged: 0, total: 0 } }
    : deck(),
  runs: empty ? [] : runs,
  agents: empty ? [] : agents,
  needs: empty ? [] : needs,
  gates,
  approvals: empty ? [] : approvals.map(({ subject: _subject, cut: _cut, diff: _diff, ...row }) => row),
  run,
  tasks: [] as TaskRow[],
});

const none = { set: [], changed: {}, gone: [] };

function stream(answer: ServerResponse): unknown {
  answer.writeHead(200, { "Content-Type": "text/event-stream", "Cache-Control": "no-store" });
  const send = (event: string, data: unknown) =>
    answer.write(`id: ${seq}\nevent: ${event}\ndata: ${JSON.stringify(data)}\n\n`);
  send("snapshot", snapshot(null));
  const timer = setInterval(() => {
    if (empty) return;
    seq += 1;
    const changed: Record<string, Partial<AgentRow>> = {};
    for (let n = 0; n < Math.min(agents.length, 250); n += 1) {
      const at = Math.floor(Math.random() * agents.length);
      const row = agents[at];
      if (!row || row.silent) continue;
      const useful = Math.random() < 0.05;
      const fields = {
        last_at: now(),
        spent_usd: row.spent_usd + 0.0004,
        ...(useful ? { useful_at: now() } : {}),
      };
      agents[at] = { ...row, ...fields };
      changed[row.attempt] = fields;
    }
    send("delta", {
      seq,
      at: now(),
      deck: deck(),
      runs: none,
      agents: { ...none, changed },
      needs: none,
      gates: none,
      approvals: none,
      tasks: none,
      touched: {},
    });
  }, 250);
  return answer.on("close", () => clearInterval(timer));
}

createServer((asked, answer) => {
  const url = new URL(asked.url ?? "/", "http://localhost");
  if (url.pathname === "/api/v1/stream") return void stream(answer);
  if (url.pathname.startsWith("/api/")) return void api(asked.method ?? "GET", url.pathname.slice(8), answer);
  const name = normalize(url.pathname === "/" ? "/index.html" : url.pathname);
  try {
    const content = readFileSync(join(BUILT, name));
    answer.writeHead(200, {
      "Cache-Control": "no-store",
      "Content-Type": TYPES[extname(name)] ?? "text/plain",
      "Content-Security-Policy": POLICY,
    });
    answer.end(content);
  } catch {
    answer.writeHead(404).end();
  }
}).listen(port, "127.0.0.1");

function api(method: string, path: string, answer: ServerResponse): unknown {
  const json = (status: number, body: unknown) => {
    answer.writeHead(status, { "Content-Type": status >= 400 ? "application/problem+json" : "application/json" });
    answer.end(JSON.stringify(body));
  };
  const approval = approvals.find((row) => path === `approvals/${row.approval}`);
  if (method === "GET" && approval) return json(200, approval);
  if (method === "POST" && approval) {
    needs = needs.filter((row) => row.approval !== approval.approval);
    return json(200, { approval: approval.approval, verdict: "approve" });
  }
  if (method === "POST")
    return json(409, {
      type: "about:blank",
      title: "Conflict",
      status: 409,
      detail: "This deck is made up.",
      fix: "quarterdeck up",
    });
  return json(404, { type: "about:blank", title: "Not found", status: 404, detail: `There is no ${path}.` });
}
