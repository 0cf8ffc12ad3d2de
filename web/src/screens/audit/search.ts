// What is asked of the journal, as it stands in the address, and events on one line. Pure.

import type { EventRow } from "../../api/types.ts";

export interface Wanted {
  readonly stream: string;
  readonly kind: string;
  readonly q: string;
}

export function wanted(params: Readonly<Record<string, string>>): Wanted {
  return { stream: params["stream"] ?? "", kind: params["kind"] ?? "", q: params["q"] ?? "" };
}

/** Pages joined; an event that comes twice stands once. The newest stand first. */
export function joined(known: readonly EventRow[], page: readonly EventRow[]): EventRow[] {
  const found = new Map(known.map((event) => [event.id, event]));
  for (const event of page) found.set(event.id, event);
  return [...found.values()].sort((a, b) => b.id - a.id);
}

const FIRST = [
  "reason",
  "why",
  "question",
  "goal",
  "title",
  "outcome",
  "verdict",
  "tool",
  "model",
  "task",
  "status",
  "node",
];

/** The most telling of an event's body on one line: texts before names before numbers. */
export function gist(body: Readonly<Record<string, unknown>>, most = 160): string {
  const parts: string[] = [];
  const told = new Set<string>(["kind"]);
  const put = (name: string) => {
    const value = body[name];
    if (told.has(name) || value === null || value === "" || value === undefined) return;
    if (typeof value === "object" || name.endsWith("_blob")) return;
    told.add(name);
    // What was measured is known to the millisecond at most.
    const said = typeof value === "number" && !Number.isInteger(value) ? value.toFixed(3) : String(value);
    parts.push(FIRST.includes(name) && typeof value === "string" ? value : `${name} ${said}`);
  };
  for (const name of FIRST) put(name);
  for (const name of Object.keys(body)) put(name);
  const text = parts.join(" · ").replace(/\s+/g, " ");
  return text.length > most ? `${text.slice(0, most)}…` : text;
}

/** The run that an event is about, where its stream says so. */
export function runOf(stream: string): string | null {
  const [kind = "", name = ""] = stream.split("/", 2);
  if (kind === "run") return name || null;
  if (kind === "attempt" || kind === "mail") return name.split(".")[0] || null;
  return null;
}

/** The attempt whose thread an event is part of. */
export function attemptOf(stream: string): string | null {
  return stream.startsWith("attempt/") ? stream.slice("attempt/".length) : null;
}
