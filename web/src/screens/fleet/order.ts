// Which agents are shown, and in which order. Pure.
// Rules: who is silent comes first, the longest silence at the top; then who waits for a person; then the others, those
// nearest to their own usual gap first. The order of the quiet rest is steady, so that rows do not jump about.

import type { AgentRow } from "../../api/types.ts";

export type Filter = "all" | "silent" | "person" | "model" | "tool" | "other";

export const FILTERS: readonly { readonly name: Filter; readonly word: string }[] = [
  { name: "all", word: "All" },
  { name: "silent", word: "Silent" },
  { name: "person", word: "Waits for a person" },
  { name: "model", word: "Waits for a model" },
  { name: "tool", word: "In a tool" },
  { name: "other", word: "Waits otherwise" },
];

const PERSON: readonly string[] = ["approval", "question"];

export function waitOf(agent: AgentRow): Filter {
  if (PERSON.includes(agent.waits_on)) return "person";
  if (agent.waits_on === "model") return "model";
  if (agent.waits_on.startsWith("tool")) return "tool";
  return agent.waits_on ? "other" : "all";
}

export function passes(agent: AgentRow, filter: Filter): boolean {
  if (filter === "all") return true;
  return filter === "silent" ? agent.silent : waitOf(agent) === filter;
}

export function counts(agents: readonly AgentRow[]): Readonly<Record<Filter, number>> {
  const found: Record<Filter, number> = { all: agents.length, silent: 0, person: 0, model: 0, tool: 0, other: 0 };
  for (const agent of agents) {
    if (agent.silent) found.silent += 1;
    const wait = waitOf(agent);
    if (wait !== "all") found[wait] += 1;
  }
  return found;
}

/** Every word of the query occurs somewhere in what names the agent. */
export function matches(agent: AgentRow, words: readonly string[]): boolean {
  if (words.length === 0) return true;
  const text = `${agent.agent} ${agent.title} ${agent.task} ${agent.run} ${agent.model} ${agent.harness} ${agent.node} ${agent.waits_on}`;
  const lower = text.toLowerCase();
  return words.every((word) => lower.includes(word));
}

const urgency = (agent: AgentRow): number => (agent.silent ? 0 : PERSON.includes(agent.waits_on) ? 1 : 2);

export function ordered(agents: readonly AgentRow[], filter: Filter, query: string): AgentRow[] {
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  return agents
    .filter((agent) => passes(agent, filter) && matches(agent, words))
    .sort((a, b) => {
      const first = urgency(a) - urgency(b);
      if (first !== 0) return first;
      if (urgency(a) === 0 && a.useful_at !== b.useful_at) return a.useful_at - b.useful_at;
      return a.attempt < b.attempt ? -1 : 1;
    });
}

/** How much of its own usual gap an agent has been without useful output: 1 = as long as usual; null = not known. */
export function pace(agent: AgentRow, now: number): number | null {
  return agent.cadence_s > 0 ? Math.max(0, now - agent.useful_at) / agent.cadence_s : null;
}
