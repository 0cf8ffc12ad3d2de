// A part of a screen that is loaded when it is first shown.

import type { ComponentType } from "preact";
import { useEffect, useState } from "preact/hooks";

/** The component once it is there; null before that, and where it cannot be loaded. */
export function useLazy<P>(load: () => Promise<{ readonly default: ComponentType<P> }>): ComponentType<P> | null {
  const [found, setFound] = useState<{ readonly part: ComponentType<P> } | null>(null);
  useEffect(() => {
    let left = false;
    load().then(
      (module) => !left && setFound({ part: module.default }),
      () => undefined,
    );
    return () => {
      left = true;
    };
  }, []);
  return found?.part ?? null;
}
