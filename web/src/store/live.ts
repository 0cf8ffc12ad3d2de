// The one store of this page and the stream that feeds it.

import { Stream } from "../api/stream.ts";
import { DeckStore } from "./deck.ts";

export const store = new DeckStore();
export const stream = new Stream(store);

/** Follow one run's tasks and streams too; null follows the deck alone. */
export function follow(run: string | null): void {
  stream.open(run);
}
