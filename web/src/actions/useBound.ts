// A form whose order holds for what its person saw; after a refusal, for what it has shown them since.

import { useRef, useState } from "preact/hooks";
import type { RunDetail } from "../api/types.ts";
import { postSeen, type Seen, Stale } from "./bound.ts";

export interface Bound {
  /** Raises Stale, Refused. */
  readonly sendSeen: <T = unknown>(path: string, order: unknown) => Promise<T>;
  /** The run as it was when an order was refused; null before that. */
  readonly now: RunDetail | null;
}

export function useBound(first: () => Seen): Bound {
  const [now, setNow] = useState<RunDetail | null>(null);
  const seen = useRef<Seen | null>(null);
  seen.current ??= first();
  const sendSeen = async <T>(path: string, order: unknown): Promise<T> => {
    try {
      return await postSeen<T>(path, order, seen.current as Seen);
    } catch (error) {
      if (error instanceof Stale) {
        seen.current = error.seen;
        setNow(error.now);
      }
      throw error;
    }
  };
  return { sendSeen, now };
}
