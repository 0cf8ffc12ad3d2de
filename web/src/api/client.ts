// Requests to the deck's server.
// Rules: every mutation carries an Idempotency-Key, and a retry after a lost connection carries the same one. What the
// server refuses comes back as one kind of error that holds its problem document. Paths are relative to the page.

import type { Problem } from "./types.ts";

export const API = "api/v1";
const RETRIES = 2;

/** What the server refused, or that it could not be reached (`status` 0). */
export class Refused extends Error {
  readonly problem: Problem;

  constructor(problem: Problem) {
    super(problem.detail || problem.title);
    this.name = "Refused";
    this.problem = problem;
  }

  get status(): number {
    return this.problem.status;
  }
}

export interface Sending {
  /** The version that the person saw: the server refuses where it has moved on. */
  readonly version?: number;
  readonly signal?: AbortSignal;
  /** Given where the same order may be sent again later; else a new one. */
  readonly key?: string;
}

type Params = Readonly<Record<string, string | number | boolean | null | undefined>>;

/** A path below the API with its parameters; those that are null or undefined are left out. */
export function address(path: string, params: Params = {}): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(params)) {
    if (value !== null && value !== undefined && value !== "") query.set(name, String(value));
  }
  const text = query.toString();
  return `${API}/${path}${text ? `?${text}` : ""}`;
}

/** One segment of a path. */
export const part = (id: string): string => encodeURIComponent(id);

export function idempotencyKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Read. Raises Refused. */
export async function get<T>(path: string, params: Params = {}, signal?: AbortSignal): Promise<T> {
  const init: RequestInit = { headers: { Accept: "application/json" }, ...(signal ? { signal } : {}) };
  return (await body(await reach(address(path, params), init))) as T;
}

/** Read text, such as a plan or a report. Raises Refused. */
export async function text(path: string, signal?: AbortSignal): Promise<string> {
  const answer = await reach(address(path), signal ? { signal } : {});
  if (!answer.ok) throw await refusal(answer);
  return answer.text();
}

/** Order something. Raises Refused. */
export async function post<T = unknown>(path: string, order: unknown = {}, sending: Sending = {}): Promise<T> {
  const headers: Record<string, string> = {
    Accept: "application/json",
    "Content-Type": "application/json",
    "Idempotency-Key": sending.key ?? idempotencyKey(),
  };
  if (sending.version !== undefined) headers["If-Match"] = `"${sending.version}"`;
  const init: RequestInit = { method: "POST", headers, body: JSON.stringify(order) };
  if (sending.signal) init.signal = sending.signal;
  return (await body(await reach(address(path), init))) as T;
}

/** Take away what there may be only one of; asking twice does no harm. Raises Refused. */
export async function remove(path: string): Promise<void> {
  const headers = { Accept: "application/json", "Content-Type": "application/json" };
  const answer = await reach(address(path), { method: "DELETE", headers, body: "{}" });
  if (!answer.ok) throw await refusal(answer);
}

/** The connection may be lost before the answer: the key makes it safe to ask again. */
async function reach(url: string, init: RequestInit): Promise<Response> {
  for (let tried = 0; ; tried += 1) {
    try {
      return await fetch(url, { credentials: "same-origin", cache: "no-store", ...init });
    } catch (error) {
      if (init.signal?.aborted || tried >= RETRIES) throw unreachable(error);
      await new Promise((go) => setTimeout(go, 200 * (tried + 1)));
    }
  }
}

async function body(answer: Response): Promise<unknown> {
  if (!answer.ok) throw await refusal(answer);
  if (answer.status === 204) return null;
  const said = await answer.text();
  return said ? JSON.parse(said) : null;
}

async function refusal(answer: Response): Promise<Refused> {
  const bare: Problem = {
    type: "about:blank",
    title: answer.statusText || "The server refused",
    status: answer.status,
  };
  try {
    const said: unknown = await answer.json();
    if (said && typeof said === "object") return new Refused({ ...bare, ...(said as Partial<Problem>) });
  } catch {
    // Not a problem document: a proxy or a server that is starting answers in its own words.
  }
  return new Refused(bare);
}

function unreachable(error: unknown): Error {
  if (error instanceof DOMException && error.name === "AbortError") return error;
  return new Refused({
    type: "about:blank",
    title: "The deck's server does not answer",
    status: 0,
    detail: "The deck's server does not answer.",
    fix: "quarterdeck up",
  });
}
