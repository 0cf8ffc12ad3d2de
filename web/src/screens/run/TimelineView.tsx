// The timeline: one lane for each attempt, what is chosen in it, and how it is walked.
// Rules: lanes out of sight are not in the page. Everything the mouse can do (`useTimelinePointer`), keys can: walk spans
// and lanes, zoom, move, jump to what failed. The span that is chosen is said in words, which is also what a screen reader
// gets; the picture itself (`TimelineLanes`) is hidden from it. While work goes on, a view that reaches to now keeps up
// with it.

import { useRef, useState } from "preact/hooks";
import { Button, Empty } from "../../components/basics.tsx";
import { useSight } from "../../components/useSize.ts";
import { duration, plural } from "../../components/words.ts";
import { now } from "../../store/clock.ts";
import { Caption, type TitleOf, told } from "./SpanCaption.tsx";
import { Axis, Frame, LANE, LaneRow, Overview } from "./TimelineLanes.tsx";
import {
  at,
  failedFrom,
  panned,
  type Span,
  showing,
  span as spanAt,
  type Timeline,
  type View,
  zoomed,
} from "./timeline.ts";
import { useTimelinePointer } from "./useTimelinePointer.ts";

const MOST_LANES = 14;
const ZOOM = 1.6;

export interface TimelineProps {
  readonly timeline: Timeline;
  /** Seconds since the epoch; null while the run goes on. */
  readonly finished: number | null;
  readonly titleOf: TitleOf;
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
  const pointer = useTimelinePointer({
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
