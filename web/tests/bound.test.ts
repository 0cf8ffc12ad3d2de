import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import { asked, ended, funded, news, postSeen, Stale, standing } from "../src/actions/bound.ts";
import type { Refused } from "../src/api/client.ts";
import type { RunDetail, RunRow, TaskRow } from "../src/api/types.ts";

const real = globalThis.fetch;
afterEach(() => {
  globalThis.fetch = real;
});

const row = (version: number, more: Partial<RunRow> = {}): RunRow =>
  ({
    run: "r-1",
    version,
    status: "paused",
    finished_at: null,
    budget_usd: 5,
    tasks: { merged: 0 },
    ...more,
  }) as RunRow;

const detail = (version: number, more: Partial<RunRow> = {}, rest: Partial<RunDetail> = {}): RunDetail =>
  ({ run: row(version, more), tasks: [], waits: [], ...rest }) as RunDetail;

/** A server with a run at some version: it refuses orders for another one. */
function server(now: RunDetail): string[] {
  const said: string[] = [];
  globalThis.fetch = async (url, init = {}) => {
    const match = (init.headers as Record<string, string>)["If-Match"];
    said.push(`${init.method ?? "GET"} ${String(url).replace("api/v1/", "")} ${match ?? ""}`.trim());
    if (init.method !== "POST") return Response.json(now);
    if (match === undefined || match === `"${now.run.version}"`) return Response.json({ action: "done" });
    return new Response(JSON.stringify({ title: "changed", status: 412 }), { status: 412 });
  };
  return said;
}

test("an order for the run as it was seen is sent once, with its version", async () => {
  const said = server(detail(7));
  await postSeen("runs/r-1/resume", {}, standing(row(7)));
  assert.deepEqual(said, ['POST runs/r-1/resume "7"']);
});

test("where the run has moved on and what counts is as it was, the order is sent for the run as it is now", async () => {
  const said = server(detail(9, { cost_usd: 3 }));
  await postSeen("runs/r-1/budget", { usd: 9 }, funded(row(7)));
  assert.deepEqual(said, ['POST runs/r-1/budget "7"', "GET runs/r-1", 'POST runs/r-1/budget "9"']);
});

test("where what counts has changed, nothing is done and it is said; another try counts for what is there now", async () => {
  const said = server(detail(9, { budget_usd: 12 }));
  const stale = await postSeen("runs/r-1/budget", { usd: 9 }, funded(row(7))).then(
    () => null,
    (error: unknown) => error,
  );
  assert.ok(stale instanceof Stale);
  assert.match(stale.message, /^Nothing was done.* The budget is \$12\.00 now; you saw \$5\.00\.$/);
  assert.deepEqual(said, ['POST runs/r-1/budget "7"', "GET runs/r-1"]);
  await postSeen("runs/r-1/budget", { usd: 19 }, stale.seen);
  assert.equal(said[2], 'POST runs/r-1/budget "9"');
});

test("a run that moves on all the time is given up on, and other refusals are passed on at once", async () => {
  const said = server(detail(9));
  const never = { ...standing(row(7)), look: () => standing(row(7)).facts };
  globalThis.fetch = async (_url, init = {}) => {
    said.push(init.method ?? "GET");
    return init.method === "POST" ? new Response("{}", { status: 412 }) : Response.json(detail(said.length));
  };
  await assert.rejects(postSeen("runs/r-1/resume", {}, never), (error: Refused) => error.status === 412);
  assert.equal(said.filter((each) => each === "POST").length, 4);
  globalThis.fetch = async () => new Response(JSON.stringify({ title: "no", status: 409 }), { status: 409 });
  await assert.rejects(postSeen("runs/r-1/resume", {}, standing(row(7))), (error: Refused) => error.status === 409);
});

test("an answer is for the question that was read", () => {
  const wait = { task: "t", attempt: "r-1.t.1", question: "Which colour?", since: 1 };
  const seen = asked("r-1", 7, "r-1.t.1", "Which colour?");
  const other = { ...wait, attempt: "r-1.u.1", question: "Which size?" };
  assert.deepEqual(news(seen.facts, seen.look(detail(8, {}, { waits: [other, wait] }))), []);
  const changed = [{ ...wait, question: "Which size?" }];
  assert.deepEqual(news(seen.facts, seen.look(detail(8, {}, { waits: changed }))), [
    "What is asked is “Which size?” now; you saw “Which colour?”.",
  ]);
  assert.deepEqual(news(seen.facts, seen.look(detail(8))), ["What is asked is nothing now; you saw “Which colour?”."]);
});

test("another try is for a task that has not gone on meanwhile", () => {
  const seen = ended("r-1", 7, "sender", "failed");
  const tasks = [{ task: "sender", status: "merged" } as TaskRow];
  assert.deepEqual(news(seen.facts, seen.look(detail(8, {}, { tasks }))), ["sender is merged now; you saw failed."]);
  assert.deepEqual(news(seen.facts, seen.look(detail(8))), ["sender is gone now; you saw failed."]);
});
