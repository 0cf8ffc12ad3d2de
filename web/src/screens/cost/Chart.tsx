// What each day has cost so far against its cap. uPlot is known here alone, and loaded with this file.
// Rules: colours are those of the theme, and follow it. The same is said in words for those who see no picture.

import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import { money } from "../../components/words.ts";
import { theme } from "../../store/prefs.ts";
import type { Curves } from "./burn.ts";
import "uplot/dist/uPlot.min.css";

const HEIGHT = 220;

export default function Chart(props: {
  readonly curves: Curves;
  readonly cap: number | null;
  readonly stretch: number;
}) {
  const box = useRef<HTMLDivElement>(null);
  const { curves, cap } = props;
  const chosen = theme.value;
  useEffect(() => {
    const element = box.current;
    if (!element) return;
    const light = matchMedia("(prefers-color-scheme: light)");
    let plot: uPlot | null = null;
    const draw = () => {
      plot?.destroy();
      plot = new uPlot(options(element, cap, props.stretch), data(curves, cap, props.stretch), element);
    };
    draw();
    light.addEventListener("change", draw);
    const watch = new ResizeObserver(() => plot?.setSize({ width: element.clientWidth, height: HEIGHT }));
    watch.observe(element);
    return () => {
      light.removeEventListener("change", draw);
      watch.disconnect();
      plot?.destroy();
    };
  }, [curves, cap, chosen]);
  return <div ref={box} class="chart" role="img" aria-label={told(curves, cap)} />;
}

function data({ at, day, spent }: Curves, cap: number | null, stretch: number): uPlot.AlignedData {
  // A cap that is far away would press the curve flat: it is drawn when the spending comes near.
  const most = Math.max(...day, 0);
  const near = cap !== null && cap <= most * 4;
  // The last stretch has a length too.
  const end = (at[at.length - 1] ?? 0) + stretch;
  const held = (values: readonly number[]) => [...values, values[values.length - 1] ?? 0];
  const times = [...at, end];
  return [times, held(day), held(spent), times.map(() => (near ? cap : null))];
}

function options(element: HTMLElement, cap: number | null, stretch: number): uPlot.Options {
  const style = getComputedStyle(element);
  const colour = (name: string) => style.getPropertyValue(name).trim();
  const font = `11px ${style.fontFamily}`;
  const dollars = (_: uPlot, values: number[]) => values.map((value) => money(value));
  const cell = (_: uPlot, value: number | null) => (value === null ? "–" : money(value));
  const axis = { stroke: colour("--faint"), font, ticks: { show: false } };
  const steps = uPlot.paths.stepped ? { paths: uPlot.paths.stepped({ align: 1 }) } : {};
  const grid = { stroke: colour("--line"), width: 1 };
  return {
    width: element.clientWidth,
    height: HEIGHT,
    padding: [8, 8, 0, 0],
    cursor: { points: { size: 6 }, drag: { x: true, y: false } },
    // Where nobody points, the newest figures stand below the curve.
    hooks: {
      ready: [(plot) => plot.setLegend({ idx: plot.data[0].length - 2 })],
      setCursor: [(plot) => plot.cursor.idx == null && plot.setLegend({ idx: plot.data[0].length - 2 })],
    },
    scales: { y: { range: (_self, _min, max) => [0, max > 0 ? max * 1.08 : 1] } },
    // Days are those of the caps.
    tzDate: (time) => uPlot.tzDate(new Date(time * 1000), "Etc/UTC"),
    axes: [
      { ...axis, grid: { show: false }, space: 64, size: 28, values: marks },
      { ...axis, grid, size: 58, values: dollars },
    ],
    series: [
      { value: "{YYYY}-{MM}-{DD} {HH}:{mm}" },
      {
        label: "That day so far (UTC)",
        stroke: colour("--accent"),
        width: 1.5,
        fill: `${colour("--accent")}22`,
        points: { show: false },
        value: cell,
        ...steps,
      },
      {
        // Where a stretch is a day, both say the same.
        show: stretch < 86_400,
        label: stretch === 3600 ? "In that hour" : `In ${Math.round(stretch / 60)} min`,
        stroke: colour("--brass"),
        width: 1,
        points: { show: false },
        value: cell,
        ...steps,
      },
      {
        label: "Daily cap",
        stroke: colour("--bad"),
        dash: [4, 4],
        width: 1,
        points: { show: false },
        // Said also where it lies above what is drawn.
        value: () => (cap === null ? "none" : money(cap)),
      },
    ],
  };
}

/** `14:00`, and the day where one begins. */
function marks(_: uPlot, times: number[]): string[] {
  return times.map((time) => {
    const text = new Date(time * 1000).toISOString();
    return time % 86_400 === 0 ? text.slice(5, 10) : text.slice(11, 16);
  });
}

function told({ at, day }: Curves, cap: number | null): string {
  const [first, last] = [at[0], at[at.length - 1]];
  if (first === undefined || last === undefined) return "No spending";
  const date = (time: number) => new Date(time * 1000).toISOString().slice(0, 10);
  const most = Math.max(...day);
  const peak = at[day.indexOf(most)] ?? last;
  const today = day[day.length - 1] ?? 0;
  return `Spending from ${date(first)} to ${date(last)}: ${money(today)} on the last day${cap === null ? "" : ` of a cap of ${money(cap)}`}; most on ${date(peak)} with ${money(most)}.`;
}
