// Rows that change one by one.
// Rules: each row is a signal of its own, so that a change draws that row and nothing else. `ids` changes only where a
// row comes or goes, `version` whenever anything does; who sorts or filters by what rows say watches `version`.

import { batch, type ReadonlySignal, type Signal, signal } from "@preact/signals";
import type { Changes } from "../api/types.ts";

export class Table<Row> {
  readonly #key: (row: Row) => string;
  readonly #rows = new Map<string, Signal<Row | undefined>>();
  readonly #ids = signal<readonly string[]>([]);
  readonly #version = signal(0);

  constructor(key: (row: Row) => string) {
    this.#key = key;
  }

  get ids(): ReadonlySignal<readonly string[]> {
    return this.#ids;
  }

  get version(): ReadonlySignal<number> {
    return this.#version;
  }

  get size(): number {
    return this.#rows.size;
  }

  /** The row as it is now; watches nothing. */
  peek(id: string): Row | undefined {
    return this.#rows.get(id)?.peek();
  }

  /** The row as it is now; watches it and whether it goes, or where there is none, whether it comes. */
  get(id: string): Row | undefined {
    const row = this.#rows.get(id);
    if (!row) this.#ids.value;
    return row?.value;
  }

  /** Every row as it is now, in the order of their coming; watches the whole table. */
  all(): Row[] {
    this.#version.value;
    return Array.from(this.#rows.values(), (row) => row.peek() as Row);
  }

  /** The same; watches only which rows there are, for those who look again at a time of their own. */
  members(): Row[] {
    this.#ids.value;
    return Array.from(this.#rows.values(), (row) => row.peek() as Row);
  }

  /** These rows and no others. */
  replace(rows: readonly Row[]): void {
    const keep = new Set(rows.map(this.#key));
    this.apply({ set: rows, changed: {}, gone: [...this.#rows.keys()].filter((id) => !keep.has(id)) });
  }

  /** False where fields of a row have changed that is not here: only all rows anew can help. */
  apply(changes: Changes<Row>): boolean {
    const changed = Object.entries(changes.changed);
    if (changes.set.length === 0 && changes.gone.length === 0 && changed.length === 0) return true;
    let fits = true;
    batch(() => {
      let moved = false;
      for (const id of changes.gone) {
        const row = this.#rows.get(id);
        if (!row) continue;
        this.#rows.delete(id);
        row.value = undefined;
        moved = true;
      }
      for (const row of changes.set) {
        const id = this.#key(row);
        const known = this.#rows.get(id);
        if (known) known.value = row;
        else {
          this.#rows.set(id, signal<Row | undefined>(row));
          moved = true;
        }
      }
      for (const [id, fields] of changed) {
        const known = this.#rows.get(id);
        const row = known?.peek();
        if (known && row) known.value = { ...row, ...fields };
        else fits = false;
      }
      if (moved) this.#ids.value = [...this.#rows.keys()];
      this.#version.value += 1;
    });
    return fits;
  }
}
