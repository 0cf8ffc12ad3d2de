// A long list of which only what is in sight is in the page.
// Rules: rows have one height. The chosen row is kept in sight and has the focus when it was chosen by key, so that a
// screen reader reads it. Screen readers are told how many rows there are and which one this is.

import type { ComponentChildren } from "preact";
import { useLayoutEffect, useRef, useState } from "preact/hooks";
import { inSight } from "./rows.ts";

export interface VirtualProps {
  readonly ids: readonly string[];
  /** In pixels. */
  readonly height: number;
  readonly label: string;
  readonly chosen: string | null;
  readonly choose: (id: string) => void;
  /** Clicked, which says more than having the focus. */
  readonly pick?: (id: string) => void;
  /** Enter or a double click. */
  readonly open?: (id: string) => void;
  /** What is inside of a row; the row itself is drawn here. */
  readonly row: (id: string) => ComponentChildren;
  readonly class?: string;
  /** `table` rows hold cells; `list` rows hold anything. */
  readonly kind?: "table" | "list";
  readonly head?: ComponentChildren;
  /** The last row is in sight: there may be more to read. */
  readonly atEnd?: () => void;
}

export function Virtual(props: VirtualProps) {
  const { ids, height, chosen } = props;
  const box = useRef<HTMLDivElement>(null);
  const [view, setView] = useState({ top: 0, height: 800 });
  const table = props.kind !== "list";

  useLayoutEffect(() => {
    const element = box.current;
    if (!element) return;
    const look = () => {
      const seen = { top: element.scrollTop, height: element.clientHeight };
      setView((known) => (known.top === seen.top && known.height === seen.height ? known : seen));
    };
    look();
    const watch = new ResizeObserver(look);
    watch.observe(element);
    element.addEventListener("scroll", look, { passive: true });
    return () => {
      watch.disconnect();
      element.removeEventListener("scroll", look);
    };
  }, []);

  const index = chosen === null ? -1 : ids.indexOf(chosen);
  useLayoutEffect(() => {
    const element = box.current;
    if (!element || index < 0) return;
    const head = element.querySelector<HTMLElement>(":scope > .head")?.offsetHeight ?? 0;
    const top = index * height;
    if (top < element.scrollTop) element.scrollTop = top;
    else if (top + height > element.scrollTop + element.clientHeight - head) {
      element.scrollTop = top + height + head - element.clientHeight;
    }
    // The order of rows moves under the chosen one while it is looked at: only choosing scrolls.
  }, [chosen]);

  useLayoutEffect(() => {
    const element = box.current;
    if (!element || chosen === null || !element.contains(document.activeElement)) return;
    element.querySelector<HTMLElement>(`[data-id="${CSS.escape(chosen)}"]`)?.focus({ preventScroll: true });
  }, [chosen, view]);

  const [first, last] = inSight(view.top, view.height, height, ids.length);
  const shown = ids.slice(first, last);
  const end = last === ids.length;
  useLayoutEffect(() => {
    if (end) props.atEnd?.();
  }, [end, ids.length]);
  // The chosen row stays in the page when it is scrolled out of sight: the focus is on it.
  if (index >= 0 && (index < first || index >= last)) shown.push(ids[index] as string);
  const at = new Map(
    shown.map((id) => [id, id === chosen && (index < first || index >= last) ? index : ids.indexOf(id, first)]),
  );
  const stop = chosen !== null && index >= 0 ? chosen : (ids[first] ?? null);

  return (
    <div
      ref={box}
      class={`virtual ${props.class ?? ""}`}
      role={table ? "table" : "list"}
      aria-label={props.label}
      aria-rowcount={table ? ids.length + (props.head ? 1 : 0) : undefined}
    >
      {props.head}
      <div class="extent" role={table ? "rowgroup" : "presentation"} style={{ height: `${ids.length * height}px` }}>
        {shown.map((id) => {
          const place = at.get(id) ?? 0;
          const style = { transform: `translateY(${place * height}px)`, height: `${height}px` };
          return (
            <div
              key={id}
              data-id={id}
              class={id === chosen ? "row chosen" : "row"}
              role={table ? "row" : "listitem"}
              aria-rowindex={table ? place + (props.head ? 2 : 1) : undefined}
              aria-setsize={table ? undefined : ids.length}
              aria-posinset={table ? undefined : place + 1}
              aria-current={id === chosen ? "true" : undefined}
              tabIndex={id === stop ? 0 : -1}
              style={style}
              onClick={() => {
                props.choose(id);
                props.pick?.(id);
              }}
              onKeyDown={(event) => {
                if (event.key === "Enter" && event.target === event.currentTarget) props.open?.(id);
              }}
              onDblClick={() => props.open?.(id)}
              onFocus={(event) => event.target === event.currentTarget && props.choose(id)}
            >
              {props.row(id)}
            </div>
          );
        })}
      </div>
    </div>
  );
}
