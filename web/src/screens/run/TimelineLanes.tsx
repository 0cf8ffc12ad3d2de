// What is drawn of a timeline: lanes, the axis above them, the frame around a chosen span, where the view lies.
// Rules: a lane is a few paths however many spans it has. Kinds differ by form as well as by colour. None of it is for a
// screen reader: what is chosen is said in words beside it.

import { useMemo } from "preact/hooks";
import { type Span, strokes, type Timeline, ticks, type View } from "./timeline.ts";

/** Pixels from one lane to the next. */
export const LANE = 28;
const BAR = 16;
const TICK_ROOM = 88;

/** How high a look is and how far from the lane's top: kinds differ by form as well as by colour. */
export const FORMS: Readonly<Record<string, readonly [top: number, height: number]>> = {
  model: [0, BAR],
  tool: [5, BAR - 5],
  check: [0, BAR],
  review: [0, BAR],
  gate: [0, BAR],
  wait: [7, 2],
  environment: [6, 4],
  failed: [-3, BAR + 6],
};

type Track = Timeline["tracks"][number];

export function LaneRow(props: {
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

export function Axis(props: {
  readonly view: View;
  readonly zero: number;
  readonly width: number;
  readonly names: number;
}) {
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
export function Overview({
  view,
  whole,
  shown,
}: {
  readonly view: View;
  readonly whole: View;
  readonly shown: boolean;
}) {
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

export function Frame(props: {
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
