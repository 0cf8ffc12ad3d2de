// The timeline: one lane for each attempt, drawn as a few paths however many spans it has.
// Rules: lanes out of sight are not in the page. Everything the mouse can do, keys can: walk spans and lanes, zoom, move,
// jump to what failed. The span that is chosen is said in words, which is also what a screen reader gets; the picture
// itself is hidden from it. While work goes on, a view that reaches to now keeps up with it.

import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { Button, Empty } from "../../components/basics.tsx";
import { useSight } from "../../components/useSize.ts";
import { duration, plural } from "../../components/words.ts";
import { now } from "../../store/clock.ts";
import {
  at,
  failedFrom,
  panned,
  type Span,
  showing,
  since,
  span as spanAt,
  strokes,
  type Timeline,
  ticks,
  type View,
  zoomed,
} from "./timeline.ts";

const LANE = 28;
const BAR = 16;
const TICK_ROOM = 88;
const MOST_LANES = 14;
const ZOOM = 1.6;
/** Pointing this many pixels beside a span still means it. */
const SLACK = 4;

/** How high a look is and how far from the lane's top: kinds differ by form as well as by colour. */
const FORMS: Readonly<Record<string, readonly [top: number, height: number]>> = {
  model: [0, BAR],
  tool: [5, BAR - 5],
  check: [0, BAR],
  review: [0, BAR],
  gate: [0, BAR],
  wait: [7, 2],
  environment: [6, 4],
  failed: [-3, BAR + 6],
};
const WORDS: Readonly<Record<string, string>> = {
  model: "model call",
  tool: "tool call",
  check: "check",
  review: "review",
  gate: "gate",
  wait: "wait",
  environment: "environment",
  failed: "failed",
};

export interface TimelineProps {
  readonly timeline: Timeline;
  /** Seconds since the epoch; null while the run goes on. */
  readonly finished: number | null;
  readonly titleOf: (attempt: string, task: string) => string;
  readonly open: (span: Span, attempt: string, task: string) => void;
  readonly chosenAttempt: string | null;
}

export function TimelineView(props: TimelineProps) {
  const { timeline } = props;
  const end = props.finished ?? Math.max(now.value, timeline.end);
  const whole = { start: timeline.start, end: Math.max(timeline.start + 1, timeline.open > 0 ? end : timeline.end) };
  const [asked, setView] = useState<View | null>(null);
  const view = asked ?? whole;
  const [chosen, setChosen] = useState<Pick<Span, "lane" | "place"> | null>(null);
  const [pointed, setPointed] = useState<Span | null>(null);
  const span = chosen ? spanAt(timeline, chosen.lane, chosen.place) : null;

  const box = useRef<HTMLDivElement>(null);
  const sight = useSight(box, { left: 0, top: 0, width: 1000, height: LANE * MOST_LANES });
  const names = sight.width < 560 ? 104 : 208;
  const width = Math.max(80, sight.width - names);
  const first = Math.max(0, Math.floor(sight.top / LANE) - 2);
  const last = Math.min(timeline.tracks.length, Math.ceil((sight.top + sight.height) / LANE) + 2);

  const set = (next: View) => setView(next.end - next.start >= whole.end - whole.start ? null : next);
  const choose = (next: Span | null) => {
    if (!next) return;
    setChosen({ lane: next.lane, place: next.place });
    set(showing(view, next.start, next.end ?? end, whole));
    const element = box.current;
    if (!element) return;
    const top = next.lane * LANE;
    if (top < element.scrollTop) element.scrollTop = top;
    else if (top + LANE > element.scrollTop + element.clientHeight)
      element.scrollTop = top + LANE - element.clientHeight;
  };
  const open = (each: Span) => {
    const lane = timeline.tracks[each.lane]?.lane;
    if (lane) props.open(each, lane.attempt, lane.task);
  };
  const middle = span ? (span.start + (span.end ?? end)) / 2 : (view.start + view.end) / 2;
  const zoom = (factor: number, time = middle) => set(zoomed(view, factor, time, whole));
  const lane = (by: number): Span | null => {
    const to = Math.min(timeline.tracks.length - 1, Math.max(0, (span?.lane ?? -by) + by));
    const track = timeline.tracks[to];
    if (!track) return null;
    const near = at(timeline, to, span?.start ?? view.start, whole.end - whole.start, end);
    return near ?? spanAt(timeline, to, 0);
  };
  const keys: Readonly<Record<string, () => void>> = {
    ArrowRight: () => choose(span ? spanAt(timeline, span.lane, span.place + 1) : spanAt(timeline, 0, 0)),
    ArrowLeft: () => choose(span ? spanAt(timeline, span.lane, span.place - 1) : spanAt(timeline, 0, 0)),
    ArrowDown: () => choose(lane(1)),
    ArrowUp: () => choose(lane(-1)),
    n: () => choose(failedFrom(timeline, span, 1)),
    N: () => choose(failedFrom(timeline, span, -1)),
    "+": () => zoom(ZOOM),
    "=": () => zoom(ZOOM),
    "-": () => zoom(1 / ZOOM),
    "0": () => setView(null),
    h: () => set(panned(view, -(view.end - view.start) / 4, whole)),
    l: () => set(panned(view, (view.end - view.start) / 4, whole)),
    Enter: () => span && open(span),
  };
  const pointer = usePointer({
    box,
    names,
    width,
    view,
    whole,
    timeline,
    end,
    set,
    zoom,
    pointed: setPointed,
    choose,
    open,
  });

  return (
    <section class="panel run-timeline" aria-labelledby="timeline-title">
      <header>
        <h2 id="timeline-title">Timeline</h2>
        <p class="quiet run-timeline-sum">
          {plural(timeline.count, "span")} in {duration(whole.end - whole.start)}
        </p>
        <div class="buttons">
          {timeline.failed > 0 && (
            <Button little act={() => choose(failedFrom(timeline, span, 1))} keys="n" label="Next failed span">
              Next of {timeline.failed} failed
            </Button>
          )}
          <Button little look="bare" act={() => zoom(1 / ZOOM)} label="Zoom out" disabled={asked === null}>
            −
          </Button>
          <Button little look="bare" act={() => zoom(ZOOM)} label="Zoom in">
            +
          </Button>
          <Button little look="bare" act={() => setView(null)} disabled={asked === null} label="Show all of it">
            All
          </Button>
        </div>
      </header>
      <Overview view={view} whole={whole} shown={asked !== null} />
      <div
        class="lanes-frame"
        tabIndex={0}
        role="application"
        aria-roledescription="timeline"
        aria-label={`Timeline, ${plural(timeline.tracks.length, "lane")}. Arrow keys walk spans and lanes, N goes to the next that failed, plus and minus zoom, Enter opens the thread.`}
        onKeyDown={(event) => {
          if (event.ctrlKey || event.metaKey || event.altKey) return;
          const does = keys[event.key];
          if (!does) return;
          event.preventDefault();
          event.stopPropagation();
          does();
        }}
      >
        <Axis view={view} zero={timeline.start} width={width} names={names} />
        <div
          ref={box}
          class="lanes"
          style={{ height: `${Math.min(timeline.tracks.length, MOST_LANES) * LANE}px` }}
          {...pointer}
        >
          <div style={{ height: `${timeline.tracks.length * LANE}px` }} class="lanes-extent">
            {timeline.tracks.slice(first, last).map((track, index) => (
              <LaneRow
                key={track.lane.attempt}
                track={track}
                top={(first + index) * LANE}
                names={names}
                view={view}
                width={width}
                end={end}
                title={props.titleOf(track.lane.attempt, track.lane.task)}
                chosen={track.lane.attempt === props.chosenAttempt}
              />
            ))}
            {span && <Frame span={span} view={view} width={width} names={names} end={end} />}
          </div>
        </div>
      </div>
      <Caption
        span={pointed ?? span}
        timeline={timeline}
        end={end}
        open={span && !pointed ? () => open(span) : null}
        titleOf={props.titleOf}
      />
      <p class="unseen" role="status">
        {span ? told(span, timeline, end, props.titleOf) : ""}
      </p>
    </section>
  );
}

type Track = Timeline["tracks"][number];

function LaneRow(props: {
  readonly track: Track;
  readonly top: number;
  readonly names: number;
  readonly view: View;
  readonly width: number;
  readonly end: number;
  readonly title: string;
  readonly chosen: boolean;
}) {
  const { track, view, width } = props;
  // What an open span adds each second is less than a pixel in most views.
  const grain = Math.max(0.25, (view.end - view.start) / Math.max(1, width));
  const until = Math.round(props.end / grain) * grain;
  const drawn = useMemo(
    () => strokes(track, view, width, (look) => FORMS[look]?.[1] ?? BAR, until),
    [track, view.start, view.end, width, until],
  );
  return (
    <div
      class={props.chosen ? "lane chosen" : "lane"}
      style={{ transform: `translateY(${props.top}px)` }}
      aria-hidden="true"
    >
      <span
        class={track.lane.parent ? "lane-name cut sub" : "lane-name cut"}
        style={{ width: `${props.names}px` }}
        title={props.title}
      >
        {track.failed > 0 && <span class="lane-failed">{track.failed}</span>}
        {props.title}
      </span>
      <svg width={width} height={LANE} focusable="false">
        {drawn.map(({ look, d }) => (
          <path key={look} class={`look-${look}`} d={d} transform={`translate(0 ${6 + (FORMS[look]?.[0] ?? 0)})`} />
        ))}
      </svg>
    </div>
  );
}

function Axis(props: { readonly view: View; readonly zero: number; readonly width: number; readonly names: number }) {
  const { view, width } = props;
  const scale = width / (view.end - view.start);
  return (
    <div class="axis" style={{ paddingLeft: `${props.names}px` }} aria-hidden="true">
      <div>
        {ticks(view, props.zero, width, TICK_ROOM).map((tick) => {
          const left = (tick.time - view.start) * scale;
          return (
            <span key={tick.time} style={{ transform: `translateX(${left}px)` }}>
              {left < width - TICK_ROOM / 2 ? tick.text : ""}
            </span>
          );
        })}
      </div>
    </div>
  );
}

/** Where the view lies in the whole. */
function Overview({ view, whole, shown }: { readonly view: View; readonly whole: View; readonly shown: boolean }) {
  const length = whole.end - whole.start;
  return (
    <div class="overview" aria-hidden="true">
      {shown && (
        <span
          style={{
            left: `${((view.start - whole.start) / length) * 100}%`,
            width: `max(3px, ${((view.end - view.start) / length) * 100}%)`,
          }}
        />
      )}
    </div>
  );
}

function Frame(props: {
  readonly span: Span;
  readonly view: View;
  readonly width: number;
  readonly names: number;
  readonly end: number;
}) {
  const { span, view } = props;
  const scale = props.width / (view.end - view.start);
  const left = Math.max(0, (span.start - view.start) * scale);
  const right = Math.min(props.width, ((span.end ?? props.end) - view.start) * scale);
  if (right < 0 || left > props.width) return null;
  return (
    <span
      class="span-frame"
      aria-hidden="true"
      style={{
        transform: `translate(${props.names + left - 3}px, ${span.lane * LANE + 2}px)`,
        width: `${Math.max(3, right - left) + 6}px`,
        height: `${LANE - 4}px`,
      }}
    />
  );
}

function Caption(props: {
  readonly span: Span | null;
  readonly timeline: Timeline;
  readonly end: number;
  readonly open: (() => void) | null;
  readonly titleOf: TimelineProps["titleOf"];
}) {
  const { span } = props;
  if (!span) return <Legend timeline={props.timeline} />;
  return (
    <div class="caption">
      <span class={`swatch look-${span.ok === false ? "failed" : span.kind}`} aria-hidden="true" />
      <span class="cut">{told(span, props.timeline, props.end, props.titleOf)}</span>
      {props.open && (
        <Button little look="bare" act={props.open} keys="Enter">
          Open
        </Button>
      )}
    </div>
  );
}

function Legend({ timeline }: { readonly timeline: Timeline }) {
  const there = useMemo(() => {
    const found = new Set(timeline.tracks.flatMap((track) => [...new Set(track.kinds)]));
    return Object.keys(FORMS).filter((look) => (look === "failed" ? timeline.failed > 0 : found.has(look)));
  }, [timeline]);
  return (
    <ul class="caption legend-kinds" aria-label="Kinds of spans">
      {there.map((look) => (
        <li key={look}>
          <span class={`swatch look-${look}`} aria-hidden="true" /> {WORDS[look]}
        </li>
      ))}
    </ul>
  );
}

function told(span: Span, timeline: Timeline, end: number, titleOf: TimelineProps["titleOf"]): string {
  const lane = timeline.tracks[span.lane]?.lane;
  const length = (span.end ?? end) - span.start;
  return [
    `${WORDS[span.kind] ?? span.kind}${span.label ? ` ${span.label}` : ""}`,
    span.ok === false ? "failed" : span.ok === null ? "goes on" : "",
    length < 10 ? `${length.toFixed(2)} s` : duration(length),
    `at ${since(span.start - timeline.start, length < 1 ? 0.1 : 1)}`,
    lane ? titleOf(lane.attempt, lane.task) : "",
  ]
    .filter(Boolean)
    .join(" · ");
}

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
function usePointer(given: Pointing) {
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

export function NoTimeline() {
  return (
    <section class="panel run-timeline" aria-labelledby="timeline-title">
      <header>
        <h2 id="timeline-title">Timeline</h2>
      </header>
      <Empty title="Nothing has happened yet">The first call of an agent appears here.</Empty>
    </section>
  );
}
