// Lists that are made of everything, for those who are drawn anew by them.

import { computed, type ReadonlySignal } from "@preact/signals";

/** A list that is made anew whenever what it is made from changes, and is told only where it has become another one. */
export function steady(make: () => readonly string[]): ReadonlySignal<readonly string[]> {
  let known: readonly string[] = [];
  return computed(() => {
    const found = make();
    if (found.length !== known.length || found.some((id, at) => id !== known[at])) known = found;
    return known;
  });
}
