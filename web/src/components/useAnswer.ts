// Something that is read from the server when it is shown, and read again when it may have changed.
// Rules: what was read stays in sight while it is read again and when that fails. A component that shows something else
// has another key, so that nothing is shown under a wrong name.

import { useEffect, useRef, useState } from "preact/hooks";
import { Repeater } from "./repeater.ts";

export interface Answer<T> {
  readonly value: T | null;
  readonly error: unknown;
  readonly reading: boolean;
}

/** `of` changes when it is worth reading again; `pause` in milliseconds. */
export function useAnswer<T>(read: (signal: AbortSignal) => Promise<T>, of: unknown, pause = 1000): Answer<T> {
  const [state, setState] = useState<Answer<T>>({ value: null, error: null, reading: true });
  useRepeated(
    async (signal) => {
      setState((known) => ({ ...known, reading: true }));
      try {
        const value = await read(signal);
        if (!signal.aborted) setState({ value, error: null, reading: false });
      } catch (error) {
        if (!signal.aborted) setState((known) => ({ ...known, error, reading: false }));
      }
    },
    of,
    pause,
  );
  return state;
}

/** Does it when the component is shown and whenever `of` has changed, for as long as it is shown. */
export function useRepeated(act: (signal: AbortSignal) => Promise<void>, of: unknown, pause: number): void {
  const newest = useRef(act);
  newest.current = act;
  const repeater = useRef<Repeater | null>(null);
  useEffect(() => {
    const made = new Repeater((signal) => newest.current(signal), pause);
    repeater.current = made;
    return () => made.end();
  }, []);
  useEffect(() => repeater.current?.ask(), [of]);
}
