// A change, file by file, as text.
// Rules: each line says by a sign whether it was added or taken away, not by colour alone. Large files are folded. Who
// gives `comment` gets a way to say something about a line.

import { useState } from "preact/hooks";
import type { Diff, DiffFile, DiffHunk, DiffLine } from "../api/types.ts";
import { plural } from "./words.ts";

const FOLDED_FROM = 400;
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
  return (
    <details class="diff-file" open={open} onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>
        <span class="mono diff-path">
          {file.old_path && file.old_path !== file.path ? `${file.old_path} → ` : ""}
          {file.path}
        </span>
        <span class="faint">{WORDS[file.status]}</span>
        <span class="diff-counts">
          <span class="tone-good">+{file.added}</span> <span class="tone-bad">−{file.removed}</span>
        </span>
      </summary>
      {open && (
        <div class="diff-lines" tabIndex={0} role="group" aria-label={`Lines of ${file.path}`}>
          {file.binary && <p class="quiet diff-note">Binary: its content is not shown.</p>}
          {file.hunks.map((hunk, at) => (
            <Hunk key={`${at} ${hunk.header}`} hunk={hunk} path={file.path} {...(comment ? { comment } : {})} />
          ))}
          {file.cut && <p class="quiet diff-note">The rest of this file is not shown.</p>}
        </div>
      )}
    </details>
  );
}

function Hunk(props: { readonly hunk: DiffHunk; readonly path: string; readonly comment?: OnLine }) {
  return (
    <table class="diff-hunk">
      <tbody>
        <tr class="diff-header">
          <td colSpan={4}>{props.hunk.header}</td>
        </tr>
        {props.hunk.lines.map((line, at) => (
          <Line key={at} line={line} path={props.path} {...(props.comment ? { comment: props.comment } : {})} />
        ))}
      </tbody>
    </table>
  );
}

function Line(props: { readonly line: DiffLine; readonly path: string; readonly comment?: OnLine }) {
  const { line, comment } = props;
  const kind = line.kind === "+" ? "added" : line.kind === "-" ? "removed" : "";
  const number = line.new ?? line.old;
  return (
    <tr class={kind}>
      <td class="diff-n">{line.old}</td>
      <td class="diff-n">
        {comment && number !== null ? (
          <button type="button" onClick={() => comment(props.path, number)} aria-label={`Comment on line ${number}`}>
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
      <td class="diff-text">{line.text || " "}</td>
    </tr>
  );
}
