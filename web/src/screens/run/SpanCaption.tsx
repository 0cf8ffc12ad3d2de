// What stands below a timeline: the span that is chosen or pointed at in words, or which forms mean what.

import { useMemo } from "preact/hooks";
import { Button } from "../../components/basics.tsx";
import { duration } from "../../components/words.ts";
import { FORMS } from "./TimelineLanes.tsx";
import { type Span, since, type Timeline } from "./timeline.ts";

/** How the lane of an attempt is called. */
export type TitleOf = (attempt: string, task: string) => string;

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

export function Caption(props: {
  readonly span: Span | null;
  readonly timeline: Timeline;
  readonly end: number;
  readonly open: (() => void) | null;
  readonly titleOf: TitleOf;
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

/** The span in words. `end`: until when one that goes on has lasted, seconds since the epoch. */
export function told(span: Span, timeline: Timeline, end: number, titleOf: TitleOf): string {
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
