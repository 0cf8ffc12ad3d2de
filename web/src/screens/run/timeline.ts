/**
 * The timeline of a run as numbers: which spans a stretch of time holds, and what one pixel shows of them.
 *
 * - Spans come in pages of columns and stay columns. A later page may bring the end of an earlier span; it is known by
 *   lane, kind and number.
 * - A lane is sorted by start. Because spans of a lane can overlap, a running maximum of their ends stands beside them:
 *   it only grows, so the first span that reaches into a view is found by bisection.
 * - A lane is drawn as one path for each look (kind, or failed), however many spans it has. Spans closer than a pixel
 *   become one piece. A failed span is at least `FAILED_WIDTH` wide: what went wrong must not vanish by zooming out.
 * - Times are seconds since the epoch. An open span ends now.
 */

import type { Timeline as Answer, Lane } from "../../api/types.ts";

/** One page as it comes. */
export type Page = Pick<Answer, "lanes" | "labels" | "spans">;

export interface Span {
  /** Its lane, and its place in it. */
  lane: number;
  place: number;
  start: number;
  /** null: not over. */
  end: number | null;
  kind: string;
  label: string;
  ok: boolean | null;
  seq: number;
}

export interface Track {
  lane: Lane;
  starts: Float64Array;
  ends: Float64Array;
  /** The latest end up to and with this place. */
  reach: Float64Array;
  kinds: string[];
  labels: string[];
  oks: Int8Array;
  seqs: Float64Array;
  failed: number;
  /** Spans that are not over. */
  open: number;
  /** The latest time that is on record. */
  latest: number;
}

export interface Timeline {
  tracks: readonly Track[];
  count: number;
  failed: number;
  start: number;
  /** The latest time that is on record, also the start of an open span. */
  end: number;
  open: number;
}

/** One look of a lane and its path: `d` of an SVG path in pixels. */
export interface Stroke {
  look: string;
  d: string;
}

/** What lies below is drawn first: a wait goes on around what happens in it, and a failure is never hidden. */
const KINDS: readonly string[] = ["wait", "environment", "review", "check", "gate", "model", "tool", "failed"];
export const FAILED_WIDTH = 3;
const MIN_WIDTH = 1;
/** A view is never shorter than this many seconds: a span of a millisecond is then a few pixels wide. */
export const SHORTEST = 0.05;

/** The spans of a run as they come, page by page. Only lanes that a page touches are sorted anew. */
export class Spans {
  readonly #lanes = new Map<string, { readonly lane: Lane; readonly rows: Map<number, Row>; track: Track | null }>();

  take({ lanes, labels, spans }: Page): void {
    const own = lanes.map((lane) => {
      const known = this.#lanes.get(lane.attempt) ?? { lane, rows: new Map<number, Row>(), track: null };
      this.#lanes.set(lane.attempt, known);
      return known;
    });
    for (let index = 0; index < spans.lane.length; index += 1) {
      const lane = own[spans.lane[index] as number];
      if (lane === undefined) continue;
      const kind = spans.kind[index] as string;
      const seq = spans.seq[index] as number;
      lane.track = null;
      lane.rows.set(seq * KINDS.length + KINDS.indexOf(kind), {
        start: spans.start[index] as number,
        end: spans.end[index] as number,
        kind,
        label: labels[spans.label[index] as number] ?? "",
        ok: spans.ok[index] as number,
        seq,
      });
    }
  }

  get timeline(): Timeline {
    const tracks: Track[] = [];
    for (const each of this.#lanes.values()) {
      each.track ??= track(each.lane, [...each.rows.values()]);
      tracks.push(each.track);
    }
    const sum = (of: (each: Track) => number) => tracks.reduce((found, each) => found + of(each), 0);
    const count = sum((each) => each.starts.length);
    const start = tracks.reduce((least, each) => Math.min(least, each.starts[0] ?? least), Number.POSITIVE_INFINITY);
    return {
      tracks: nested(tracks),
      count,
      failed: sum((each) => each.failed),
      open: sum((each) => each.open),
      start: count === 0 ? 0 : start,
      end: tracks.reduce((most, each) => Math.max(most, each.latest), 0),
    };
  }
}

/** The timeline of these pages, in the order in which they came. */
export function build(pages: readonly Page[]): Timeline {
  const spans = new Spans();
  for (const page of pages) spans.take(page);
  return spans.timeline;
}

interface Row {
  start: number;
  end: number;
  kind: string;
  label: string;
  ok: number;
  seq: number;
}

function track(lane: Lane, rows: Row[]): Track {
  rows.sort((a, b) => a.start - b.start || a.seq - b.seq);
  const starts = new Float64Array(rows.length);
  const ends = new Float64Array(rows.length);
  const reach = new Float64Array(rows.length);
  const oks = new Int8Array(rows.length);
  const seqs = new Float64Array(rows.length);
  let [reached, failed, open, latest] = [Number.NEGATIVE_INFINITY, 0, 0, 0];
  rows.forEach((row, place) => {
    starts[place] = row.start;
    // A clock that was set back must not make a span end before it starts.
    ends[place] = row.end < 0 ? Number.POSITIVE_INFINITY : Math.max(row.start, row.end);
    reached = Math.max(reached, ends[place] as number);
    reach[place] = reached;
    latest = Math.max(latest, row.end < 0 ? row.start : (ends[place] as number));
    if (row.end < 0) open += 1;
    oks[place] = row.ok;
    seqs[place] = row.seq;
    if (row.ok === 0) failed += 1;
  });
  return {
    lane,
    starts,
    ends,
    reach,
    oks,
    seqs,
    failed,
    kinds: rows.map((row) => row.kind),
    labels: rows.map((row) => row.label),
    open,
    latest,
  };
}

/** Lanes by their first span, a sub-agent's below the one that it works for. */
function nested(tracks: Track[]): Track[] {
  const begin = (each: Track) => (each.starts.length > 0 ? (each.starts[0] as number) : Number.POSITIVE_INFINITY);
  const sorted = [...tracks].sort((a, b) => (begin(a) === begin(b) ? 0 : begin(a) - begin(b)));
  const known = new Set(sorted.map((each) => each.lane.attempt));
  const below = new Map<string, Track[]>();
  const top: Track[] = [];
  for (const each of sorted) {
    const { parent, attempt } = each.lane;
    if (parent === null || parent === attempt || !known.has(parent)) top.push(each);
    else below.set(parent, [...(below.get(parent) ?? []), each]);
  }
  const found = new Set<Track>();
  const visit = (each: Track): void => {
    if (found.has(each)) return;
    found.add(each);
    (below.get(each.lane.attempt) ?? []).forEach(visit);
  };
  top.forEach(visit);
  sorted.forEach(visit);
  return [...found];
}

/** The first place of a lane whose span, or one before it, reaches past `time`. */
export function firstReaching(track: Track, time: number): number {
  return bisect(track.reach.length, (place) => (track.reach[place] as number) >= time);
}

function bisect(length: number, from: (place: number) => boolean): number {
  let [low, high] = [0, length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (from(middle)) high = middle;
    else low = middle + 1;
  }
  return low;
}

export interface View {
  start: number;
  end: number;
}

/** What a lane shows of a view that is `width` pixels wide; `height` says how high the bars of a look are, in pixels. */
export function strokes(
  track: Track,
  view: View,
  width: number,
  height: (look: string) => number,
  now: number,
): Stroke[] {
  const scale = width / (view.end - view.start);
  const pieces = new Map<string, [number, number][]>();
  for (let place = firstReaching(track, view.start); place < track.starts.length; place += 1) {
    const start = track.starts[place] as number;
    if (start > view.end) break;
    const end = Math.min(track.ends[place] as number, Math.max(now, start));
    if (end < view.start) continue;
    const failed = track.oks[place] === 0;
    const look = failed ? "failed" : (track.kinds[place] as string);
    const left = Math.max(0, (start - view.start) * scale);
    const right = Math.min(width, Math.max((end - view.start) * scale, left + (failed ? FAILED_WIDTH : MIN_WIDTH)));
    const found = pieces.get(look);
    const last = found?.[found.length - 1];
    if (found === undefined) pieces.set(look, [[left, right]]);
    else if (last !== undefined && left <= last[1] + MIN_WIDTH && (right - left <= MIN_WIDTH || left < last[1]))
      last[1] = Math.max(last[1], right);
    else found.push([left, right]);
  }
  const drawn = [...pieces].map(([look, found]) => ({
    look,
    d: found.map(([left, right]) => bar(left, right, height(look))).join(""),
  }));
  return drawn.sort((a, b) => KINDS.indexOf(a.look) - KINDS.indexOf(b.look));
}

function bar(left: number, right: number, height: number): string {
  const wide = Math.round(left * 10) / 10;
  return `M${wide} 0h${Math.max(MIN_WIDTH, Math.round((right - left) * 10) / 10)}v${height}H${wide}z`;
}

export function span(timeline: Timeline, lane: number, place: number): Span | null {
  const track = timeline.tracks[lane];
  if (track === undefined || place < 0 || place >= track.starts.length) return null;
  const end = track.ends[place] as number;
  const ok = track.oks[place] as number;
  return {
    lane,
    place,
    start: track.starts[place] as number,
    end: end === Number.POSITIVE_INFINITY ? null : end,
    kind: track.kinds[place] as string,
    label: track.labels[place] as string,
    ok: ok < 0 ? null : ok === 1,
    seq: track.seqs[place] as number,
  };
}

/** The place in a lane that is meant by pointing at `time`: the shortest span there, else the nearest within `slack` seconds. */
export function at(timeline: Timeline, lane: number, time: number, slack: number, now: number): Span | null {
  const track = timeline.tracks[lane];
  if (track === undefined) return null;
  let [best, least] = [-1, Number.POSITIVE_INFINITY];
  for (let place = firstReaching(track, time - slack); place < track.starts.length; place += 1) {
    const start = track.starts[place] as number;
    if (start > time + slack) break;
    const end = Math.min(track.ends[place] as number, Math.max(now, start));
    const away = Math.max(start - time, time - end, 0);
    if (away > slack) continue;
    const cost = away > 0 ? 1e9 + away : end - start - (track.oks[place] === 0 ? 1e6 : 0);
    if (cost < least) [best, least] = [place, cost];
  }
  return span(timeline, lane, best);
}

/** The next failed span after (or before) a place in the order of starts over all lanes; it goes around at the ends. */
export function failedFrom(timeline: Timeline, from: Span | null, direction: 1 | -1): Span | null {
  const key = (each: Span) => [each.start, each.lane, each.place] as const;
  const less = (a: Span, b: Span) => {
    const [left, right] = [key(a), key(b)];
    return left[0] - right[0] || left[1] - right[1] || left[2] - right[2];
  };
  let [best, end] = [null as Span | null, null as Span | null];
  timeline.tracks.forEach((track, lane) => {
    if (track.failed === 0) return;
    for (let place = 0; place < track.starts.length; place += 1) {
      if (track.oks[place] !== 0) continue;
      const found = span(timeline, lane, place) as Span;
      if (end === null || less(found, end) * direction < 0) end = found;
      if (from !== null && less(found, from) * direction > 0 && (best === null || less(found, best) * direction < 0))
        best = found;
    }
  });
  return best ?? end;
}

/** The view after zooming by `factor` (over 1 = closer) around `time`; never wider than the timeline, never too short. */
export function zoomed(view: View, factor: number, time: number, whole: View): View {
  const length = Math.min(whole.end - whole.start, Math.max(SHORTEST, (view.end - view.start) / factor));
  const part = (time - view.start) / (view.end - view.start);
  return kept({ start: time - part * length, end: time + (1 - part) * length }, whole);
}

/** The view moved by seconds, kept inside the whole. */
export function panned(view: View, seconds: number, whole: View): View {
  return kept({ start: view.start + seconds, end: view.end + seconds }, whole);
}

/** The view moved as little as it takes to show a span. */
export function showing(view: View, start: number, end: number, whole: View): View {
  const length = view.end - view.start;
  if (start >= view.start && Math.min(end, start + length) <= view.end) return view;
  return kept({ start: start - length / 4, end: start + (length * 3) / 4 }, whole);
}

function kept(view: View, whole: View): View {
  const length = Math.min(view.end - view.start, whole.end - whole.start);
  const start = Math.min(Math.max(view.start, whole.start), whole.end - length);
  return { start, end: start + length };
}

const STEPS = [
  0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200,
  86400,
];

/** Marks of the axis: seconds since `zero` at round distances, at most one for `room` pixels. */
export function ticks(view: View, zero: number, width: number, room: number): { time: number; text: string }[] {
  const least = ((view.end - view.start) * room) / Math.max(room, width);
  const step = STEPS.find((each) => each >= least) ?? Math.ceil(least / 86400) * 86400;
  const found: { time: number; text: string }[] = [];
  for (let count = Math.ceil((view.start - zero) / step - 1e-9); zero + count * step <= view.end; count += 1) {
    found.push({ time: zero + count * step, text: since(count * step, step) });
  }
  return found;
}

/** Seconds since the beginning as people read them: `1:05`, `2:00:00`, `0:00.25`. */
export function since(seconds: number, step: number): string {
  const digits = step >= 1 ? 0 : step >= 0.1 ? 1 : 2;
  const whole = Math.abs(Number(seconds.toFixed(digits)));
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  const rest = (whole % 60).toFixed(digits).padStart(digits === 0 ? 2 : digits + 3, "0");
  const sign = seconds < 0 ? "−" : "";
  return hours > 0 ? `${sign}${hours}:${String(minutes).padStart(2, "0")}:${rest}` : `${sign}${minutes}:${rest}`;
}
