// The task graph: boxes that are buttons over lines that are drawn.
// Rules: one box is in the order of Tab, the arrow keys go along the edges. State is a shape, a colour and a word; what
// decides when the run ends is drawn thick and said. Only what is in sight is in the page.

import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import type { TaskRow } from "../../api/types.ts";
import { Glyph, stateOf } from "../../components/Mark.tsx";
import { useSight } from "../../components/useSize.ts";
import { plural } from "../../components/words.ts";
import { type Box, layout, SIZES } from "./graph.ts";
import { path, step, within } from "./picture.ts";

const ARROWS: Readonly<Record<string, "left" | "right" | "up" | "down">> = {
  ArrowLeft: "left",
  ArrowRight: "right",
  ArrowUp: "up",
  ArrowDown: "down",
};
const MARGIN = 240;
const EDGE = 3;

export function Graph(props: {
  readonly tasks: readonly TaskRow[];
  readonly chosen: string | null;
  readonly choose: (task: string) => void;
}) {
  const { tasks } = props;
  const [open, setOpen] = useState<ReadonlySet<string>>(new Set());
  const shape = tasks.map((task) => `${task.task} ${task.status} ${task.critical} ${task.needs}`).join("|");
  const picture = useMemo(() => layout(tasks, open), [shape, open]);
  const byName = new Map(tasks.map((task) => [task.task, task]));
  const chosenBox = picture.boxes.find((box) => box.id === props.chosen);
  const [walked, setWalked] = useState<string | null>(null);
  const here = picture.boxes.find((box) => box.id === walked) ?? chosenBox ?? picture.boxes[0];

  const box = useRef<HTMLDivElement>(null);
  const sight = useSight(box, { left: 0, top: 0, width: 1600, height: 900 });
  useBeginning(box, picture.boxes, byName);

  const focus = (id: string) => {
    setWalked(id);
    const element = box.current;
    const to = picture.boxes.find((each) => each.id === id);
    if (!element || !to) return;
    bring(element, to);
    requestAnimationFrame(() =>
      element.querySelector<HTMLElement>(`[data-box="${CSS.escape(id)}"]`)?.focus({ preventScroll: true }),
    );
  };
  const act = (each: Box) => {
    if (each.tasks.length === 1) props.choose(each.tasks[0] as string);
    else setOpen(new Set([...open, each.id]));
  };
  useEffect(() => {
    if (chosenBox && box.current) bring(box.current, chosenBox);
  }, [props.chosen]);

  const seen = within(
    picture,
    sight.left - MARGIN,
    sight.top - MARGIN,
    sight.left + sight.width + MARGIN,
    sight.top + sight.height + MARGIN,
  );
  const boxes = here && !seen.boxes.includes(here) ? [...seen.boxes, here] : seen.boxes;
  return (
    <div
      ref={box}
      class="graph"
      role="group"
      aria-label={`Task graph, ${plural(tasks.length, "task")}. Arrow keys go along the needs.`}
      onKeyDown={(event) => {
        const way = ARROWS[event.key];
        if (!way || !here || event.ctrlKey || event.altKey || event.metaKey) return;
        event.preventDefault();
        event.stopPropagation();
        focus(step(picture, here.id, way));
      }}
    >
      <div
        class="graph-extent"
        style={{ width: `${picture.width + EDGE * 2}px`, height: `${picture.height + EDGE * 2}px` }}
      >
        <svg
          class="graph-edges"
          width={picture.width + EDGE * 2}
          height={picture.height + EDGE * 2}
          viewBox={`${-EDGE} ${-EDGE} ${picture.width + EDGE * 2} ${picture.height + EDGE * 2}`}
          aria-hidden="true"
          focusable="false"
        >
          {[...seen.edges]
            .sort((a, b) => Number(a.critical) - Number(b.critical))
            .map((edge) => (
              <path
                key={`${edge.from}>${edge.to}`}
                d={path(edge.points)}
                class={[
                  edge.critical ? "critical" : "",
                  edge.from === props.chosen || edge.to === props.chosen ? "chosen" : "",
                ].join(" ")}
              />
            ))}
        </svg>
        {boxes.map((each) => (
          <TaskBox
            key={each.id}
            box={each}
            task={byName.get(each.tasks[0] as string)}
            chosen={each.id === props.chosen}
            stop={each === here}
            act={() => act(each)}
            focused={() => setWalked(each.id)}
          />
        ))}
      </div>
      {open.size > 0 && (
        <button type="button" class="button little graph-close" onClick={() => setOpen(new Set())}>
          Group again
        </button>
      )}
    </div>
  );
}

function TaskBox(props: {
  readonly box: Box;
  readonly task: TaskRow | undefined;
  readonly chosen: boolean;
  readonly stop: boolean;
  readonly act: () => void;
  readonly focused: () => void;
}) {
  const { box, task } = props;
  const { word, tone, shape } = stateOf(box.status);
  const group = box.tasks.length > 1;
  const title = group ? plural(box.tasks.length, "task") : (task?.title ?? box.id);
  const more = group ? "Show each" : task ? below(task) : "";
  const said = [
    task && !group && task.needs.length > 0 ? `needs ${task.needs.join(", ")}` : "",
    box.critical ? "decides when the run ends" : "",
  ].filter(Boolean);
  return (
    <button
      type="button"
      data-box={box.id}
      class={[
        "box",
        `edge-${tone}`,
        group ? "group" : "",
        box.critical ? "critical" : "",
        props.chosen ? "chosen" : "",
      ].join(" ")}
      style={{
        transform: `translate(${box.x + EDGE}px, ${box.y + EDGE}px)`,
        width: `${SIZES.width}px`,
        height: `${SIZES.height}px`,
      }}
      tabIndex={props.stop ? 0 : -1}
      aria-current={props.chosen ? "true" : undefined}
      title={group ? undefined : `${title}\n${word}${more ? ` · ${more}` : ""}`}
      onClick={props.act}
      onFocus={props.focused}
    >
      <span class={`mark tone-${tone}`}>
        <Glyph shape={shape} />
      </span>
      <span class="box-title cut">{title}</span>
      <span class="box-more cut">{[word, more].filter(Boolean).join(" · ")}</span>
      {said.length > 0 && <span class="unseen">, {said.join(", ")}</span>}
    </button>
  );
}

function below(task: TaskRow): string {
  return [task.attempts > 1 ? `attempt ${task.attempts}` : "", task.agent].filter(Boolean).join(" · ");
}

/** A run that goes on is looked at where it is at work, not at its beginning. */
function useBeginning(
  box: { readonly current: HTMLDivElement | null },
  boxes: readonly Box[],
  byName: ReadonlyMap<string, TaskRow>,
): void {
  const done = useRef(false);
  useLayoutEffect(() => {
    const element = box.current;
    if (done.current || !element || boxes.length === 0) return;
    done.current = true;
    const quiet = new Set(["merged", "pending", "cancelled", "blocked"]);
    const first = boxes.find((each) => !quiet.has(byName.get(each.tasks[0] as string)?.status ?? "pending"));
    if (!first) return;
    bring(element, first);
    // What it was waiting for stands in sight too.
    element.scrollLeft = Math.max(0, first.x - SIZES.width - SIZES.columnGap);
  });
}

/** Scrolls the picture, and nothing around it, as little as it takes to show a box. */
function bring(element: HTMLElement, box: Box): void {
  const room = 24;
  const [right, bottom] = [box.x + SIZES.width + room, box.y + SIZES.height + room];
  if (box.x - room < element.scrollLeft) element.scrollLeft = box.x - room;
  else if (right > element.scrollLeft + element.clientWidth) element.scrollLeft = right - element.clientWidth;
  if (box.y - room < element.scrollTop) element.scrollTop = box.y - room;
  else if (bottom > element.scrollTop + element.clientHeight) element.scrollTop = bottom - element.clientHeight;
}
