import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import { address, get, post, type Refused } from "../src/api/client.ts";

const real = globalThis.fetch;
afterEach(() => {
  globalThis.fetch = real;
});

function server(...answers: (Response | Error)[]): { url: string; init: RequestInit }[] {
  const asked: { url: string; init: RequestInit }[] = [];
  globalThis.fetch = async (url, init = {}) => {
    asked.push({ url: String(url), init });
    const answer = answers.shift();
    if (answer instanceof Response) return answer;
    throw answer ?? new TypeError("nobody listens");
  };
  return asked;
}

const headers = (init: RequestInit | undefined): Record<string, string> => init?.headers as Record<string, string>;

test("an order that lost its connection is sent again under the same key", async () => {
  const asked = server(new TypeError("reset"), Response.json({ run: "r-1" }));
  assert.deepEqual(await post("runs", { goal: "g" }, { version: 7 }), { run: "r-1" });
  const [first, second] = asked.map(({ init }) => headers(init)["Idempotency-Key"]);
  assert.match(first ?? "", /^[0-9a-f]{32}$/);
  assert.equal(first, second);
  assert.equal(headers(asked[0]?.init)["If-Match"], '"7"');
  server(Response.json(null));
});

test("two orders never share a key", async () => {
  const asked = server(Response.json(null), Response.json(null));
  await post("runs/r-1/pause");
  await post("runs/r-1/pause");
  assert.notEqual(headers(asked[0]?.init)["Idempotency-Key"], headers(asked[1]?.init)["Idempotency-Key"]);
});

test("a refusal brings what happened and what to do", async () => {
  const problem = { type: "about:blank", title: "Conflict", status: 409, detail: "decided already", fix: "look again" };
  server(new Response(JSON.stringify(problem), { status: 409 }));
  await assert.rejects(get("approvals/x"), (error: Refused) => {
    assert.equal(error.message, "decided already");
    assert.equal(error.status, 409);
    assert.equal(error.problem.fix, "look again");
    return true;
  });
});

test("an answer in other words is a refusal too", async () => {
  server(new Response("<h1>Bad gateway</h1>", { status: 502, statusText: "Bad Gateway" }));
  await assert.rejects(get("deck"), (error: Refused) => error.status === 502 && error.message === "Bad Gateway");
});

test("a server that is not there is said to be not there, with the command that starts it", async () => {
  server();
  await assert.rejects(get("deck"), (error: Refused) => error.status === 0 && error.problem.fix === "quarterdeck up");
});

test("parameters that are not given are left out", () => {
  assert.equal(address("events", { q: "a b", before: null, limit: 0, kind: "" }), "api/v1/events?q=a+b&limit=0");
});
