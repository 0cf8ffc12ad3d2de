// How full the context was, step by step: a small picture, and the same in words.

import { count, percent } from "../../components/words.ts";
import { curve } from "./thread.ts";

const WIDTH = 600;
const HEIGHT = 28;

export function Fill(props: {
  readonly points: readonly { readonly step: number; readonly seq: number; readonly tokens: number }[];
  /** Tokens; 0 = not known. */
  readonly window: number;
  readonly jump: (seq: number) => void;
}) {
  const { points, window } = props;
  const last = points[points.length - 1];
  if (!last || points.length < 2) return null;
  const most = points.reduce((found, point) => Math.max(found, point.tokens), 0);
  const scale = window > 0 ? window : most * 1.15;
  const line = curve(
    points.map((point) => point.tokens),
    scale,
    WIDTH,
    HEIGHT,
  );
  const first = points[0]?.step ?? 0;
  const words = `Context, step ${first} to ${last.step}: ${count(last.tokens)} tokens${window > 0 ? `, ${percent(last.tokens, window)} of ${count(window)}` : ""}; most ${count(most)}`;
  return (
    <div class="fill">
      <p class="fill-words faint">
        Context {count(last.tokens)}
        {window > 0 && ` of ${count(window)}`}{" "}
        <span>
          steps {first}–{last.step}
        </span>
      </p>
      <svg
        viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
        preserveAspectRatio="none"
        role="img"
        aria-label={words}
        onClick={(event) => {
          const frame = event.currentTarget.getBoundingClientRect();
          const at = Math.round(((event.clientX - frame.left) / frame.width) * (points.length - 1));
          const point = points[at];
          if (point) props.jump(point.seq);
        }}
      >
        <path class="fill-area" d={`${line}L${WIDTH} ${HEIGHT}L0 ${HEIGHT}Z`} />
        <path class="fill-line" d={line} vector-effect="non-scaling-stroke" />
        {window > 0 && <path class="fill-most" d={`M0 .5H${WIDTH}`} vector-effect="non-scaling-stroke" />}
      </svg>
    </div>
  );
}
