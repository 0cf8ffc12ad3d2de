// The timeline of a run, read page by page and kept up while the run goes on.

import { useEffect, useRef, useState } from "preact/hooks";
import { get, part } from "../../api/client.ts";
import type { Timeline as Answer } from "../../api/types.ts";
import { build, type Timeline } from "./timeline.ts";

const PAUSE_MS = 1000;

export interface Read {
  readonly timeline: Timeline | null;
  readonly error: unknown;
}

/** `grown` changes whenever anything of the run was recorded. */
export function useTimeline(run: string, grown: number): Read {
  const [state, setState] = useState<Read>({ timeline: null, error: null });
  const pages = useRef<Answer[]>([]);
  const begun = useRef(0);

  useEffect(() => {
    const reading = new AbortController();
    const read = async () => {
      begun.current = performance.now();
      for (;;) {
        const last = pages.current[pages.current.length - 1];
        const page = await get<Answer>(`runs/${part(run)}/timeline`, { after: last?.next }, reading.signal);
        if (reading.signal.aborted) return;
        pages.current.push(page);
        if (!page.cut || page.next === last?.next) break;
      }
      setState({ timeline: build(pages.current), error: null });
    };
    const start = () =>
      read().catch((error: unknown) => {
        if (!reading.signal.aborted) setState((known) => ({ ...known, error }));
      });
    const wait = begun.current === 0 ? 0 : Math.max(0, begun.current + PAUSE_MS - performance.now());
    const timer = setTimeout(start, wait);
    return () => {
      clearTimeout(timer);
      reading.abort();
    };
  }, [run, grown]);
  return state;
}
