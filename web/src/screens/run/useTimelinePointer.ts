// The mouse on a timeline. What it can do, keys can too: see `TimelineView`.

import { useEffect, useRef } from "preact/hooks";
import { LANE } from "./TimelineLanes.tsx";
import { at, panned, type Span, type Timeline, type View } from "./timeline.ts";

/** Pointing this many pixels beside a span still means it. */
const SLACK = 4;

interface Pointing {
  readonly box: { readonly current: HTMLDivElement | null };
  readonly names: number;
  readonly width: number;
  readonly view: View;
  readonly whole: View;
  readonly timeline: Timeline;
  readonly end: number;
  readonly set: (view: View) => void;
  readonly zoom: (factor: number, time: number) => void;
  readonly pointed: (span: Span | null) => void;
  readonly choose: (span: Span | null) => void;
  readonly open: (span: Span) => void;
}

/** Point to read, click to choose, twice to open, drag to move, Ctrl and wheel to zoom. */
export function useTimelinePointer(given: Pointing) {
  const newest = useRef(given);
  newest.current = given;
  const drag = useRef<{ x: number; view: View; moved: boolean } | null>(null);
  const under = (event: MouseEvent): Span | null => {
    const { box, names, width, view, timeline, end } = newest.current;
    const element = box.current;
    if (!element) return null;
    const frame = element.getBoundingClientRect();
    const x = event.clientX - frame.left - names;
    if (x < 0) return null;
    const perPixel = (view.end - view.start) / width;
    const lane = Math.floor((event.clientY - frame.top + element.scrollTop) / LANE);
    return at(timeline, lane, view.start + x * perPixel, SLACK * perPixel, end);
  };
  useEffect(() => {
    const element = given.box.current;
    if (!element) return;
    const wheel = (event: WheelEvent) => {
      const { view, width, names, whole, set, zoom } = newest.current;
      const perPixel = (view.end - view.start) / width;
      if (event.ctrlKey || event.metaKey) {
        event.preventDefault();
        const x = event.clientX - element.getBoundingClientRect().left - names;
        zoom(Math.exp(-event.deltaY / 240), view.start + Math.max(0, x) * perPixel);
      } else if (Math.abs(event.deltaX) > Math.abs(event.deltaY) || event.shiftKey) {
        event.preventDefault();
        set(panned(view, (event.deltaX || event.deltaY) * perPixel, whole));
      }
    };
    // Only a listener that is not passive may keep the page from zooming.
    element.addEventListener("wheel", wheel, { passive: false });
    return () => element.removeEventListener("wheel", wheel);
  }, []);
  return {
    onPointerDown: (event: PointerEvent) => {
      if (event.button === 0) drag.current = { x: event.clientX, view: given.view, moved: false };
    },
    onPointerMove: (event: PointerEvent) => {
      const begun = drag.current;
      if (!begun) {
        given.pointed(under(event));
        return;
      }
      const pixels = event.clientX - begun.x;
      if (!begun.moved && Math.abs(pixels) < 4) return;
      if (!begun.moved) (event.currentTarget as HTMLElement).setPointerCapture(event.pointerId);
      begun.moved = true;
      const perPixel = (begun.view.end - begun.view.start) / given.width;
      given.set(panned(begun.view, -pixels * perPixel, given.whole));
    },
    onPointerUp: (event: PointerEvent) => {
      const begun = drag.current;
      drag.current = null;
      if (begun && !begun.moved) given.choose(under(event));
    },
    onPointerLeave: () => {
      drag.current = null;
      given.pointed(null);
    },
    onDblClick: (event: MouseEvent) => {
      const found = under(event);
      if (found) given.open(found);
    },
  };
}
