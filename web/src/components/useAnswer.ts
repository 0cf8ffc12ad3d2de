// Something that is read from the server when it is needed, and read again when it may have changed.
// Rules: what was read stays in sight while it is read again and when that fails. It is asked for at most once in
// `pause`, however often it changes, and what changed last is always asked for. Nothing is read for a screen that has
// been left: a component that shows something else has another key.

import { useEffect, useRef, useState } from "preact/hooks";

export interface Answer<T> {
  readonly value: T | null;
  readonly error: unknown;
  readonly reading: boolean;
  readonly again: () => void;
}

/** `of` changes when it is worth reading again; `pause` in milliseconds. */
export function useAnswer<T>(read: (signal: AbortSignal) => Promise<T>, of: unknown, pause = 1000): Answer<T> {
  const [state, setState] = useState<Omit<Answer<T>, "again">>({ value: null, error: null, reading: true });
  const [asked, setAsked] = useState(0);
  const newest = useRef(read);
  newest.current = read;
  const begun = useRef(0);

  useEffect(() => {
    const reading = new AbortController();
    const start = () => {
      begun.current = performance.now();
      setState((known) => ({ ...known, reading: true }));
      newest.current(reading.signal).then(
        (value) => !reading.signal.aborted && setState({ value, error: null, reading: false }),
        (error: unknown) => !reading.signal.aborted && setState((known) => ({ ...known, error, reading: false })),
      );
    };
    const wait = begun.current === 0 ? 0 : Math.max(0, begun.current + pause - performance.now());
    const timer = wait === 0 ? null : setTimeout(start, wait);
    if (timer === null) start();
    return () => {
      if (timer !== null) clearTimeout(timer);
      reading.abort();
    };
  }, [of, asked]);

  return { ...state, again: () => setAsked((count) => count + 1) };
}
