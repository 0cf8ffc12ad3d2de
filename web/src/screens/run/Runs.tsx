// All runs that the deck knows of, newest first, with what they wait for.

import { signal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { Empty, Meter, Money, When } from "../../components/basics.tsx";
import { Mark } from "../../components/Mark.tsx";
import { beside } from "../../components/rows.ts";
import { Segment } from "../../components/Segment.tsx";
import { Virtual } from "../../components/Virtual.tsx";
import { plural } from "../../components/words.ts";
import { go, link } from "../../shell/router.ts";
import { useKeys } from "../../shell/useKeys.ts";
import { store } from "../../store/live.ts";
import { matches, WHICH, type Which } from "./matching.ts";

const ROW = 56;
const asked = signal("");
const which = signal<Which>("all");
const chosen = signal<string | null>(null);

export function Runs() {
  const field = useRef<HTMLInputElement>(null);
  const all = store.runs.all().sort((a, b) => b.created_at - a.created_at);
  const found = all.filter((run) => matches(run, which.value, asked.value));
  const ids = found.map((run) => run.run);
  const here = chosen.value !== null && ids.includes(chosen.value) ? chosen.value : (ids[0] ?? null);
  useEffect(() => {
    document.title = "Runs · Quarterdeck";
  }, []);
  const move = (by: number) => {
    chosen.value = beside(ids, here, by);
  };
  useKeys("Runs", [
    { keys: "j", does: "Next run", act: () => move(1) },
    { keys: "k", does: "Previous run", act: () => move(-1) },
    { keys: "ArrowDown", does: "Next run", act: () => move(1) },
    { keys: "ArrowUp", does: "Previous run", act: () => move(-1) },
    { keys: "o", does: "Open the run", act: () => here && go(["run", here]) },
    { keys: "Enter", does: "Open the run", act: () => here && go(["run", here]) },
    { keys: "/", does: "Search", act: () => field.current?.focus() },
    { keys: "Escape", does: "Leave the search", act: () => field.current?.blur() },
  ]);
  return (
    <div class="screen runs">
      <header>
        <h1>Runs</h1>
        <p class="quiet" role="status">
          {found.length === all.length ? plural(all.length, "run") : `${found.length} of ${plural(all.length, "run")}`}
        </p>
        {all.length > 0 && (
          <div class="runs-tools">
            <Segment
              label="Which runs"
              options={WHICH}
              chosen={which.value}
              choose={(kind) => {
                which.value = kind;
              }}
            />
            <input
              ref={field}
              class="input"
              type="search"
              placeholder="Search goals, repositories, people"
              aria-label="Search runs"
              aria-keyshortcuts="/"
              value={asked.value}
              onInput={(event) => {
                asked.value = event.currentTarget.value;
              }}
            />
          </div>
        )}
      </header>
      {all.length === 0 ? (
        <div class="panel">
          <Empty title="No run yet" next={'quarterdeck run "what should be true afterwards"'}>
            Start one here with <kbd>c</kbd>, or in a terminal:
          </Empty>
        </div>
      ) : found.length === 0 ? (
        <div class="panel">
          <Empty title="No run is like that" next="quarterdeck ps">
            The search looks at the goal, the repository, the branch, the person and the status.
          </Empty>
        </div>
      ) : (
        <Virtual
          ids={ids}
          height={ROW}
          label={plural(found.length, "run")}
          chosen={here}
          choose={(id) => {
            chosen.value = id;
          }}
          open={(id) => go(["run", id])}
          class="panel run-rows"
          row={(id) => <Line id={id} />}
        />
      )}
    </div>
  );
}

function Line({ id }: { readonly id: string }) {
  const run = store.runs.get(id);
  if (!run) return null;
  const { tasks } = run;
  return (
    <>
      <span role="cell" class="runs-state">
        <Mark state={run.status} />
      </span>
      <span role="cell" class="runs-goal">
        <a class="cut" href={link(["run", id])} tabIndex={-1}>
          {run.goal}
        </a>
        <span class="cut faint">
          <span class="mono">{run.repository.split("/").pop()}</span> → <span class="mono">{run.branch}</span>
          {run.held ? ` · held: ${run.held}` : run.reason ? ` · ${run.reason}` : ""}
        </span>
      </span>
      <span role="cell" class="runs-tasks">
        <span>
          {tasks.merged}/{tasks.total} merged
          {tasks.failed > 0 && <span class="tone-bad"> · {tasks.failed} failed</span>}
        </span>
        <Meter
          value={tasks.merged}
          max={tasks.total}
          label={`${tasks.merged} of ${plural(tasks.total, "task")} merged`}
          tone={tasks.failed ? "wait" : "good"}
        />
      </span>
      <span role="cell" class="runs-cost num">
        <Money usd={run.cost_usd} />
      </span>
      <span role="cell" class="runs-when faint num">
        {run.finished_at === null ? <When at={run.created_at} as="for" /> : <When at={run.finished_at} />}
      </span>
    </>
  );
}
