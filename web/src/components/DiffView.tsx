// A change, file by file, as text.
// Rules: each line says by a sign whether it was added or taken away, not by colour alone. What cannot be seen is written
// out, and what is not shown is said (`diff.ts`). Large files are folded and shown part by part. Who gives `comment` gets
// a way to say something about a line or a file.

import { useMemo, useState } from "preact/hooks";
import type { Diff, DiffFile, Hunk as DiffHunk, DiffLine } from "../api/types.ts";
import { Button } from "./basics.tsx";
import { notes, type Piece, pieces, replacements } from "./diff.ts";
import { plural } from "./words.ts";

const FOLDED_FROM = 400;
/** Lines of a file that are put into the page at a time. */
const PART = 1_000;
const WORDS = { added: "added", modified: "changed", deleted: "deleted", renamed: "renamed" };

export type OnLine = (path: string, line: number | null) => void;

export function DiffView({ diff, comment }: { readonly diff: Diff; readonly comment?: OnLine }) {
  const added = diff.files.reduce((sum, file) => sum + file.added, 0);
  const removed = diff.files.reduce((sum, file) => sum + file.removed, 0);
  return (
    <section class="diff" aria-label="The change">
      <p class="diff-sum quiet">
        {plural(diff.files.length, "file")}, <span class="tone-good">+{added}</span>{" "}
        <span class="tone-bad">−{removed}</span>
        {diff.cut && " · only the beginning is shown"}
      </p>
      {diff.files.map((file) => (
        <File key={file.path} file={file} {...(comment ? { comment } : {})} />
      ))}
    </section>
  );
}

function File({ file, comment }: { readonly file: DiffFile; readonly comment?: OnLine }) {
  const lines = file.hunks.reduce((sum, hunk) => sum + hunk.lines.length, 0);
  const [open, setOpen] = useState(lines <= FOLDED_FROM);
  const [most, setMost] = useState(PART);
  const { hunks, left } = useMemo(() => beginning(file.hunks, most), [file, most]);
  return (
    <details class="diff-file" open={open} onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>
        <span class="mono diff-path">
          {file.old_path && file.old_path !== file.path ? <Text text={`${file.old_path} → `} /> : ""}
          <Text text={file.path} />
        </span>
        <span class="faint">{WORDS[file.status]}</span>
        <span class="diff-counts">
          <span class="tone-good">+{file.added}</span> <span class="tone-bad">−{file.removed}</span>
        </span>
      </summary>
      {open && (
        <div class="diff-lines" tabIndex={0} role="group" aria-label={`Lines of ${file.path}`}>
          {notes(file).map((note) => (
            <p key={note} class="quiet diff-note">
              {note}
            </p>
          ))}
          {comment && (
            <p class="diff-note">
              <Button little act={() => comment(file.path, null)} label={`Comment on ${file.path}`}>
                Comment on the file
              </Button>
            </p>
          )}
          {hunks.map((hunk, at) => (
            <Hunk key={`${at} ${hunk.header}`} hunk={hunk} path={file.path} {...(comment ? { comment } : {})} />
          ))}
          {left > 0 && (
            <p class="diff-note">
              <Button little act={() => setMost(most + PART)}>
                Show {Math.min(PART, left)} of {plural(left, "more line")}
              </Button>
            </p>
          )}
          {left === 0 && file.cut && <p class="quiet diff-note">The rest of this file is not shown.</p>}
        </div>
      )}
    </details>
  );
}

/** The first so many lines, in their hunks, and how many are left. */
function beginning(
  hunks: readonly DiffHunk[],
  most: number,
): { readonly hunks: readonly DiffHunk[]; readonly left: number } {
  const found: DiffHunk[] = [];
  let [room, left] = [most, 0];
  for (const hunk of hunks) {
    if (room > 0) found.push(hunk.lines.length <= room ? hunk : { ...hunk, lines: hunk.lines.slice(0, room) });
    left += Math.max(0, hunk.lines.length - room);
    room = Math.max(0, room - hunk.lines.length);
  }
  return { hunks: found, left };
}

function Hunk(props: { readonly hunk: DiffHunk; readonly path: string; readonly comment?: OnLine }) {
  const { hunk } = props;
  const changed = useMemo(() => replacements(hunk.lines), [hunk]);
  return (
    <table class="diff-hunk">
      <tbody>
        <tr class="diff-header">
          <td colSpan={4}>
            <Text text={hunk.header} />
          </td>
        </tr>
        {hunk.lines.map((line, at) => (
          <Line
            key={at}
            line={line}
            changed={changed.get(at) ?? null}
            path={props.path}
            {...(props.comment ? { comment: props.comment } : {})}
          />
        ))}
      </tbody>
    </table>
  );
}

function Line(props: {
  readonly line: DiffLine;
  readonly changed: readonly [number, number] | null;
  readonly path: string;
  readonly comment?: OnLine;
}) {
  const { line, comment } = props;
  const kind = line.kind === "+" ? "added" : line.kind === "-" ? "removed" : "";
  return (
    <tr class={kind}>
      <td class="diff-n">{line.old}</td>
      <td class="diff-n">
        {comment && line.new !== null ? (
          <button
            type="button"
            onClick={() => comment(props.path, line.new)}
            aria-label={`Comment on line ${line.new}`}
            title="Comment on this line"
          >
            {line.new}
          </button>
        ) : (
          line.new
        )}
      </td>
      <td class="diff-sign">
        {line.kind === "-" ? "−" : line.kind}
        {kind && <span class="unseen">{kind}</span>}
      </td>
      <td class="diff-text">{line.text === "" ? " " : <Text text={line.text} changed={props.changed} />}</td>
    </tr>
  );
}

/** Text in which nothing is hidden. */
function Text(props: { readonly text: string; readonly changed?: readonly [number, number] | null }) {
  const found = useMemo(() => pieces(props.text, props.changed ?? null), [props.text, props.changed]);
  if (found.length === 1 && found[0]?.mark === false && !found[0].changed) return props.text;
  return found.map(shown);
}

function shown(piece: Piece, at: number) {
  if (piece.mark) {
    return (
      <mark key={at} class="diff-unseen" title={piece.title}>
        {piece.text}
      </mark>
    );
  }
  return piece.changed ? (
    <em key={at} class="diff-changed">
      {piece.text}
    </em>
  ) : (
    piece.text
  );
}
