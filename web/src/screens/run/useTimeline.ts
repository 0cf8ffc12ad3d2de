// The timeline of a run, read page by page and kept up while the run goes on.

import { useRef, useState } from "preact/hooks";
import { get, part } from "../../api/client.ts";
import type { Timeline as Answer } from "../../api/types.ts";
import { useRepeated } from "../../components/useAnswer.ts";
import { Spans, type Timeline } from "./timeline.ts";

const PAUSE_MS = 1000;

export interface Read {
  readonly timeline: Timeline | null;
  readonly error: unknown;
}

/** `grown` changes whenever anything of the run was recorded. */
export function useTimeline(run: string, grown: number): Read {
  const [state, setState] = useState<Read>({ timeline: null, error: null });
  const spans = useRef(new Spans());
  const next = useRef<number | null>(null);
  useRepeated(
    async (signal) => {
      try {
        for (;;) {
          const page = await get<Answer>(`runs/${part(run)}/timeline`, { after: next.current }, signal);
          if (signal.aborted) return;
          spans.current.take(page);
          const stands = page.next === next.current;
          next.current = page.next;
          if (!page.cut || stands) break;
        }
        setState({ timeline: spans.current.timeline, error: null });
      } catch (error) {
        if (!signal.aborted) setState((known) => ({ ...known, error }));
      }
    },
    grown,
    PAUSE_MS,
  );
  return state;
}
