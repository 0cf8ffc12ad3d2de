/**
 * What a change says, so that a person judges what is really in the files.
 *
 * - A character that cannot be seen, or that changes the order in which others are shown, is written out: a reviewer and
 *   a compiler must not read two different programs. So is the carriage return at the end of a line.
 * - What is not shown is said: a binary file, a file or a change that was cut, a line that is too long.
 * - A removed line and the added line that takes its place show where they differ.
 */

import type { DiffFile, DiffLine } from "../api/types.ts";

/** A piece of text; `mark` pieces stand for a character that would not be seen. */
export interface Piece {
  readonly text: string;
  readonly mark: boolean;
  readonly changed: boolean;
  /** What the mark stands for. */
  readonly title: string;
}

/** Longer lines are cut: minified code would otherwise fill the screen. */
export const LINE_LIMIT = 1_000;

/** What is to be said about a file before its lines. */
export function notes(file: DiffFile): string[] {
  const found: string[] = [];
  if (file.status === "renamed" && file.old_path !== null) found.push(`Renamed from ${file.old_path}`);
  if (file.binary) found.push("Binary: its content is not shown.");
  else if (file.hunks.length === 0 && !file.cut) found.push(empty(file));
  const lines = file.hunks.flatMap((hunk) => hunk.lines);
  const [before, after] = [lines.filter((line) => line.kind === "-"), lines.filter((line) => line.kind === "+")];
  const [were, are] = [before.some(carriage), after.some(carriage)];
  if (before.length > 0 && after.length > 0 && were !== are) {
    found.push(are ? "Line ends change from LF to CRLF." : "Line ends change from CRLF to LF.");
  }
  return found;
}

function empty(file: DiffFile): string {
  if (file.status === "added") return "An empty file.";
  if (file.status === "deleted") return "An empty file was deleted.";
  return "No line differs: the name or the mode changed.";
}

const carriage = (line: DiffLine): boolean => line.text.endsWith("\r");

/** Where paired lines differ: the n-th removed line of a block and the n-th added line that follows the block. */
export function replacements(lines: readonly DiffLine[]): Map<number, readonly [number, number]> {
  const found = new Map<number, readonly [number, number]>();
  let at = 0;
  while (at < lines.length) {
    if (lines[at]?.kind !== "-") {
      at += 1;
      continue;
    }
    const removed = at;
    while (lines[at]?.kind === "-") at += 1;
    const added = at;
    while (lines[at]?.kind === "+") at += 1;
    // Blocks of different length are rewritten rather than changed: marking parts of them would be noise.
    if (added - removed !== at - added) continue;
    for (let place = 0; place < added - removed; place += 1) {
      const [old, now] = [lines[removed + place]?.text ?? "", lines[added + place]?.text ?? ""];
      const spans = difference(old, now);
      if (spans === null) continue;
      found.set(removed + place, spans[0]);
      found.set(added + place, spans[1]);
    }
  }
  return found;
}

/** The stretch in which two lines differ, or null where they have too little in common. */
export function difference(old: string, now: string): [readonly [number, number], readonly [number, number]] | null {
  const shorter = Math.min(old.length, now.length);
  let [left, right] = [0, 0];
  while (left < shorter && old[left] === now[left]) left += 1;
  while (right < shorter - left && old[old.length - 1 - right] === now[now.length - 1 - right]) right += 1;
  // Half of a surrogate pair is no character.
  if (left > 0 && isHigh(old.charCodeAt(left - 1))) left -= 1;
  if (right > 0 && isLow(old.charCodeAt(old.length - right))) right -= 1;
  const kept = (text: string, from: number, to: number) => text.slice(from, to).trim().length;
  if (kept(old, 0, left) + kept(old, old.length - right, old.length) < 3) return null;
  return [
    [left, old.length - right],
    [left, now.length - right],
  ];
}

const isHigh = (unit: number): boolean => unit >= 0xd800 && unit <= 0xdbff;
const isLow = (unit: number): boolean => unit >= 0xdc00 && unit <= 0xdfff;

/**
 * What an eye cannot tell from nothing or from a common space: controls, marks of direction, characters without width,
 * odd spaces, halves of surrogate pairs. What holds an emoji together is part of it.
 */
const UNSEEN =
  /(?!(?<=\p{ExtPict})\ufe0f|(?<=\p{ExtPict}|\ufe0f|\p{EMod})\u200d(?=\p{ExtPict}))(?![\t ])[\p{Cc}\p{Cf}\p{Cs}\p{Z}\p{DI}]/gu;

/** The text in pieces, with what cannot be seen written out. */
export function pieces(text: string, changed: readonly [number, number] | null = null, limit = LINE_LIMIT): Piece[] {
  const found: Piece[] = [];
  const [from, to] = changed ?? [0, 0];
  const plain = (start: number, end: number) => {
    const cuts = [start, Math.min(Math.max(from, start), end), Math.min(Math.max(to, start), end), end];
    for (let at = 0; at < 3; at += 1) {
      const piece = text.slice(cuts[at] as number, cuts[at + 1] as number);
      if (piece) found.push({ text: piece, mark: false, changed: at === 1, title: "" });
    }
  };
  const shown = Math.min(text.length, limit);
  let last = 0;
  for (const match of text.matchAll(UNSEEN)) {
    if (match.index >= shown) break;
    plain(last, match.index);
    last = match.index + match[0].length;
    found.push({
      text: name(match[0], last === text.length),
      mark: true,
      changed: match.index >= from && last <= to,
      title: code(match[0]),
    });
  }
  if (last < shown) plain(last, shown);
  if (text.length > shown) {
    const more = text.length - shown;
    found.push({ text: `… ${more} more`, mark: true, changed: false, title: `${more} more characters in this line` });
  }
  return found;
}

function name(character: string, last: boolean): string {
  if (character === "\r") return last ? "CR" : "␍";
  if (character === "\u00a0") return "NBSP";
  return code(character);
}

function code(character: string): string {
  return `U+${(character.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0")}`;
}
