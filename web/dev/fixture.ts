// A made-up deck to look at screens with while they are drawn: `node dev/fixture.ts [PORT] [AGENTS]` serves it with the
// built dashboard. Nothing here is shipped or tested against; what is true of a deck is what its journal says.

import { readFileSync } from "node:fs";
import { createServer, type ServerResponse } from "node:http";
import { extname, join, normalize } from "node:path";
import type { AgentRow, DeckRow, Snapshot, TaskRow } from "../src/api/types.ts";
import { approvals, needs as every } from "./asks.ts";
import { agents, began, gates, now, runs } from "./rows.ts";

const port = Number(process.argv[2] ?? 7399);
const BUILT = new URL("../../src/quarterdeck/web/", import.meta.url).pathname;
const TYPES: Record<string, string> = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".css": "text/css",
  ".svg": "image/svg+xml",
};
const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

let needs = every;

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
