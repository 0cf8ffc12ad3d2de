import assert from "node:assert/strict";
import { test } from "node:test";
import type { DiffFile, DiffLine } from "../src/api/types.ts";
import { difference, LINE_LIMIT, notes, pieces, replacements } from "../src/components/diff.ts";

const line = (kind: DiffLine["kind"], text: string, now: number | null = kind === "-" ? null : 1): DiffLine => ({
  kind,
  old: kind === "+" ? null : 1,
  new: now,
  text,
});

const file = (more: Partial<DiffFile> = {}): DiffFile => ({
  path: "src/a.py",
  old_path: null,
  status: "modified",
  binary: false,
  added: 1,
  removed: 1,
  hunks: [{ header: "@@ -1 +1 @@", lines: [line("-", "old text"), line("+", "new text")] }],
  cut: false,
  ...more,
});

const seen = (text: string): string =>
  pieces(text)
    .map((piece) => (piece.mark ? `[${piece.text}]` : piece.text))
    .join("");

test("what is not shown is said", () => {
  assert.deepEqual(notes(file({ status: "renamed", old_path: "x", hunks: [] })), [
    "Renamed from x",
    "No line differs: the name or the mode changed.",
  ]);
  assert.deepEqual(notes(file({ binary: true, hunks: [] })), ["Binary: its content is not shown."]);
  assert.deepEqual(notes(file({ status: "added", hunks: [] })), ["An empty file."]);
  assert.deepEqual(notes(file({ hunks: [], cut: true })), []);
});

test("a change of line ends is said, since it cannot be seen", () => {
  const ends = (old: string, now: string) =>
    notes(file({ hunks: [{ header: "", lines: [line("-", old), line("+", now)] }] }));
  assert.deepEqual(ends("a", "a\r"), ["Line ends change from LF to CRLF."]);
  assert.deepEqual(ends("a\r", "a"), ["Line ends change from CRLF to LF."]);
  assert.deepEqual(ends("a\r", "b\r"), []);
});

test("what cannot be seen is written out, what can is left alone", () => {
  assert.equal(seen("\tif x: y = 1"), "\tif x: y = 1");
  assert.equal(seen("end\r"), "end[CR]");
  assert.equal(seen("a\u202Eb"), "a[U+202E]b");
  assert.equal(seen("a\u200Bb\u2066c"), "a[U+200B]b[U+2066]c");
  assert.equal(seen("a\u00a0b"), "a[NBSP]b");
  assert.equal(seen("a\u0000\u001b[31m"), "a[U+0000][U+001B][31m");
  assert.equal(seen("\ud800x"), "[U+D800]x");
  assert.equal(seen("x\u{e0041}\u{e0100}"), "x[U+E0041][U+E0100]");
  assert.equal(seen("naïve 日本語 שלום 👩‍💻 ❤️ 👩🏽‍🚀"), "naïve 日本語 שלום 👩‍💻 ❤️ 👩🏽‍🚀");
  assert.equal(seen("x\ufe0fy❤\ufe0f\ufe0f"), "x[U+FE0F]y❤\ufe0f[U+FE0F]");
  assert.equal(seen("אבג"), "אבג");
});

test("pieces put together are the line, whatever is in it", () => {
  const text = "a\u202Eb👍c\r";
  const together = pieces(text, [1, 5])
    .map((piece) => (piece.mark ? "" : piece.text))
    .join("");
  assert.equal(together, "ab👍c");
  const long = "x".repeat(LINE_LIMIT + 25);
  const cut = pieces(long);
  assert.equal(cut[0]?.text.length, LINE_LIMIT);
  assert.equal(cut[1]?.text, "… 25 more");
  assert.deepEqual(pieces(""), []);
});

test("a line and the one that takes its place show where they differ", () => {
  assert.deepEqual(difference("return total", "return subtotal"), [
    [7, 7],
    [7, 10],
  ]);
  assert.equal(difference("a", "b"), null);
  assert.equal(difference("", "anything"), null);
  const changed = replacements([line(" ", "x"), line("-", "return 1 + a"), line("+", "return 2 + a")]);
  assert.deepEqual(
    [...changed],
    [
      [1, [7, 8]],
      [2, [7, 8]],
    ],
  );
  assert.deepEqual(
    pieces("return 2 + a", [7, 8])
      .filter((piece) => piece.changed)
      .map((piece) => piece.text),
    ["2"],
  );
  assert.equal(replacements([line("-", "one line"), line("+", "one line more"), line("+", "two lines")]).size, 0);
});

test("half of a surrogate pair is never cut out", () => {
  const found = difference("say 👍 now", "say 👎 now");
  assert.deepEqual(found, [
    [4, 6],
    [4, 6],
  ]);
});
