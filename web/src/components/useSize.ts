// How large an element is and what of it is scrolled into sight, for those that draw only that.

import type { RefObject } from "preact";
import { useLayoutEffect, useState } from "preact/hooks";

export interface Sight {
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
}

const same = (a: Sight, b: Sight): boolean =>
  a.left === b.left && a.top === b.top && a.width === b.width && a.height === b.height;

/** In pixels; `first` until the element was laid out. */
export function useSight(box: RefObject<HTMLElement | null>, first: Sight): Sight {
  const [sight, setSight] = useState(first);
  useLayoutEffect(() => {
    const element = box.current;
    if (!element) return;
    let waiting = 0;
    const look = () => {
      waiting = 0;
      const seen = {
        left: element.scrollLeft,
        top: element.scrollTop,
        width: element.clientWidth,
        height: element.clientHeight,
      };
      setSight((known) => (same(known, seen) ? known : seen));
    };
    const soon = () => {
      if (waiting === 0) waiting = requestAnimationFrame(look);
    };
    look();
    const watch = new ResizeObserver(soon);
    watch.observe(element);
    element.addEventListener("scroll", soon, { passive: true });
    return () => {
      cancelAnimationFrame(waiting);
      watch.disconnect();
      element.removeEventListener("scroll", soon);
    };
  }, []);
  return sight;
}
