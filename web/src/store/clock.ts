// What time it is at the deck.
// Rules: the server's clock counts, since its times are shown; the difference is learned from each message. The tick is
// one for the whole page and stands still while nobody looks.

import { signal } from "@preact/signals";

/** Seconds since the epoch at the server, renewed each second. */
export const now = signal(Date.now() / 1000);

let ahead = 0;

/** A message that was written at `at` has just come. A small difference is the way it took. */
export function learn(at: number): void {
  const difference = at - Date.now() / 1000;
  if (Math.abs(difference - ahead) > 2) ahead = difference;
}

export const atServer = (): number => Date.now() / 1000 + ahead;

export function startClock(): () => void {
  const tick = () => {
    if (!document.hidden) now.value = atServer();
  };
  tick();
  const timer = setInterval(tick, 1000);
  document.addEventListener("visibilitychange", tick);
  return () => {
    clearInterval(timer);
    document.removeEventListener("visibilitychange", tick);
  };
}
