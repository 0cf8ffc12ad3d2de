// What has just happened because of the person: said once, politely, and gone by itself. What went wrong stays until it
// is put away.

import { signal } from "@preact/signals";
import { Refused } from "../api/client.ts";
import { Button } from "./basics.tsx";
import { Glyph } from "./Mark.tsx";

interface Note {
  readonly id: number;
  readonly text: string;
  readonly fix: string;
  readonly bad: boolean;
}

const STAYS_MS = 5000;
const MOST = 4;
const notes = signal<readonly Note[]>([]);
let last = 0;

function put(text: string, fix: string, bad: boolean): void {
  last += 1;
  const note = { id: last, text, fix, bad };
  notes.value = [...notes.value, note].slice(-MOST);
  if (!bad) setTimeout(() => remove(note.id), STAYS_MS);
}

function remove(id: number): void {
  notes.value = notes.value.filter((note) => note.id !== id);
}

export function say(text: string): void {
  put(text, "", false);
}

export function complain(error: unknown): void {
  if (error instanceof Refused) put(error.message, error.problem.fix ?? "", true);
  else put(error instanceof Error ? error.message : String(error), "", true);
}

/** Do it and say so, or say why not. */
export function perform(does: () => Promise<unknown>, done: string): void {
  does().then(() => say(done), complain);
}

export function Toasts() {
  return (
    <section class="toasts" aria-label="What has just happened" role="status">
      {notes.value.map((note) => (
        <div key={note.id} class="toast">
          <span class={`mark tone-${note.bad ? "bad" : "good"}`}>
            <Glyph shape={note.bad ? "cross" : "check"} />
          </span>
          <div>
            <p>{note.text}</p>
            {note.fix && <p class="quiet">{note.fix}</p>}
          </div>
          <Button look="bare" little label="Put away" act={() => remove(note.id)}>
            ×
          </Button>
        </div>
      ))}
    </section>
  );
}
