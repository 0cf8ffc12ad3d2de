/**
 * The thread of an attempt: pages of entries that grow at both ends, and what is drawn of them.
 *
 * - Entries are known by their number in the stream. Pages may overlap; an entry that comes again replaces the earlier
 *   one (a call that had no result yet).
 * - At most `KEPT` entries are held; what is furthest from where the person reads is dropped and can be loaded again.
 * - A view that stands at the end stays at the end when more comes. One that stands elsewhere is never moved.
 * - Long text is folded to its beginning, and says how much more there is.
 */

import type { Thread, ThreadEntry } from "../../api/types.ts";

export const KEPT = 400;
export const FOLD_LINES = 12;
export const FOLD_CHARACTERS = 1_600;

/** A stretch of a thread, without gaps. `before` and `after` say from where it can be continued; null = its end. */
export interface Stretch {
  readonly entries: readonly ThreadEntry[];
  readonly before: number | null;
  readonly after: number | null;
}

export const NOTHING: Stretch = { entries: [], before: null, after: null };

type Page = Pick<Thread, "entries" | "before" | "after">;

/** The stretch with a page joined at its end. What is dropped from the beginning can be loaded again. */
export function extended(stretch: Stretch, page: Page): Stretch {
  if (stretch.entries.length === 0) return { entries: [...page.entries], before: page.before, after: page.after };
  const all = merged(stretch.entries, page.entries);
  const entries = all.slice(-KEPT);
  const before = entries.length < all.length ? (entries[0] as ThreadEntry).seq : stretch.before;
  return { entries, before, after: page.after };
}

/** The stretch with a page joined at its beginning. What is dropped from the end can be loaded again. */
export function preceded(stretch: Stretch, page: Page): Stretch {
  const all = merged(page.entries, stretch.entries);
  const entries = all.slice(0, KEPT);
  const after = entries.length < all.length ? (entries[entries.length - 1] as ThreadEntry).seq : stretch.after;
  return { entries, before: page.before, after };
}

function merged(earlier: readonly ThreadEntry[], later: readonly ThreadEntry[]): ThreadEntry[] {
  const known = new Map<string, ThreadEntry>();
  for (const entry of earlier) known.set(id(entry), entry);
  for (const entry of later) known.set(id(entry), entry);
  return [...known.values()].sort((a, b) => a.seq - b.seq);
}

/** One event can have several entries (what a model said, thought and called). */
export function id(entry: ThreadEntry): string {
  return `${entry.seq} ${entry.kind} ${entry.tool} ${entry.arguments.slice(0, 80)}`;
}

/** What is shown of a text while it is folded; `more` is what is left: lines, or characters where it is one long line. */
export interface Folded {
  readonly shown: string;
  readonly more: string;
}

export function folded(text: string): Folded {
  const lines = text.split("\n");
  const head = lines.slice(0, FOLD_LINES).join("\n");
  const shown = cut(head, FOLD_CHARACTERS);
  if (shown.length === text.length) return { shown: text, more: "" };
  // Unfolding to show one more line is worse than showing it.
  if (shown === head && lines.length <= FOLD_LINES + 2) return { shown: text, more: "" };
  const left = shown === head ? lines.length - FOLD_LINES : 0;
  return { shown, more: left > 0 ? `${left} more lines` : `${text.length - shown.length} more characters` };
}

function cut(text: string, most: number): string {
  if (text.length <= most) return text;
  const unit = text.charCodeAt(most - 1);
  return text.slice(0, unit >= 0xd800 && unit <= 0xdbff ? most - 1 : most);
}

/** Arguments of a call: each name with its value. Text stands as it is, so that commands can be read. */
export function told(json: string): { name: string; value: string }[] {
  if (json === "") return [];
  let args: unknown;
  try {
    args = JSON.parse(json);
  } catch {
    // Cut in the middle, or never JSON: what there is of it is shown.
    return [{ name: "", value: json }];
  }
  if (typeof args !== "object" || args === null || Array.isArray(args)) return [{ name: "", value: spelled(args) }];
  return Object.entries(args).map(([name, value]) => ({ name, value: spelled(value) }));
}

function spelled(value: unknown): string {
  return typeof value === "string" ? value : JSON.stringify(value, null, 2);
}

/** The argument that says most about a call on one line: a command, a path, a question; else the first that is no structure. */
export function gist(json: string): string {
  const named = told(json);
  const wanted = ["command", "cmd", "path", "file", "file_path", "pattern", "query", "question", "title", "name"];
  const best =
    wanted.map((name) => named.find((each) => each.name === name)).find((each) => each !== undefined) ??
    named.find((each) => !/^[[{]/.test(each.value));
  return best === undefined ? "" : (best.value.split("\n")[0] as string).slice(0, 160);
}

/** Entries in groups of one step, so that a step has one head. What belongs to no step stands with the one before it. */
export interface Step {
  readonly step: number;
  readonly entries: readonly ThreadEntry[];
}

export function steps(entries: readonly ThreadEntry[]): Step[] {
  const found: { step: number; entries: ThreadEntry[] }[] = [];
  for (const entry of entries) {
    const last = found[found.length - 1];
    if (last && (last.step === entry.step || entry.step === 0)) last.entries.push(entry);
    else found.push({ step: entry.step, entries: [entry] });
  }
  return found;
}

/** How full the context was at each step, in the order of the steps. */
export function fill(entries: readonly ThreadEntry[]): { step: number; seq: number; tokens: number }[] {
  const found = new Map<number, { step: number; seq: number; tokens: number }>();
  for (const { step, seq, context_tokens: tokens } of entries) {
    if (tokens <= 0) continue;
    const known = found.get(step);
    if (known === undefined || tokens > known.tokens) found.set(step, { step, seq, tokens });
  }
  return [...found.values()].sort((a, b) => a.step - b.step);
}

/** A line through points from 0 to `most`, as an SVG path in a box of this size. Empty under two points. */
export function curve(values: readonly number[], most: number, width: number, height: number): string {
  if (values.length < 2 || most <= 0) return "";
  const across = width / (values.length - 1);
  const point = (value: number, at: number) =>
    `${round(at * across)} ${round(height - (Math.min(value, most) / most) * height)}`;
  return `M${values.map(point).join("L")}`;
}

const round = (value: number): number => Math.round(value * 10) / 10;
