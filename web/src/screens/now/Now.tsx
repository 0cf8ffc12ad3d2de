// Now: what needs a person, most urgent first, once for each cause, with what can be done about it in place. Beside it,
// what is under way, so that "nothing" can be believed.

import { signal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import type { NeedRow, RunRow } from "../../api/types.ts";
import { Empty, Meter, Money, Tag, When } from "../../components/basics.tsx";
import { Mark } from "../../components/Mark.tsx";
import { beside } from "../../components/rows.ts";
import { percent, plural } from "../../components/words.ts";
import { link } from "../../shell/router.ts";
import { useKeys } from "../../shell/useKeys.ts";
import { store } from "../../store/live.ts";
import type { ScreenProps } from "../registry.ts";
import { exists } from "../registry.ts";
import { actNeed, primaryActs } from "./acts.ts";
import { Landing } from "./Landing.tsx";
import { Need } from "./Need.tsx";
import { standing } from "./standing.ts";
import "./now.css";

const chosen = signal<string | null>(null);

export default function Now({ place }: ScreenProps) {
  const needs = store.ranked.value;
  const asked = place.parts[0];
  useEffect(() => {
    if (asked) chosen.value = asked;
  }, [asked]);
  const id = needs.some((need) => need.id === chosen.value) ? chosen.value : (needs[0]?.id ?? null);
  const need = needs.find((one) => one.id === id);
  const ids = needs.map((one) => one.id);

  const move = (by: number) => {
    const next = beside(ids, id, by);
    chosen.value = next;
    if (next) document.getElementById(`need-${next}`)?.focus();
  };
  const act = (action: NeedRow["actions"][number]) => () => {
    if (need?.actions.includes(action)) actNeed(need, action);
  };
  useKeys("Now", [
    { keys: "j", also: ["ArrowDown"], does: "Next", act: () => move(1) },
    { keys: "k", also: ["ArrowUp"], does: "Previous", act: () => move(-1) },
    { keys: "o", does: "Open", act: () => need && actNeed(need, "open") },
    { keys: "a", does: "Approve, or answer", orders: true, act: () => need && primaryActs(need) },
    { keys: "d", does: "Deny", orders: true, act: act("deny") },
    { keys: "p", does: "Resume", orders: true, act: act("resume") },
  ]);

  return (
    <div class="screen now-screen">
      <section class="now-needs" aria-labelledby="now-title">
        <header class="now-head">
          <h1 id="now-title">Now</h1>
          <p class="quiet" role="status">
            {needs.length === 0 ? (
              <span class="unseen">Nothing needs you</span>
            ) : (
              `${plural(needs.length, "thing")} for you`
            )}
          </p>
        </header>
        {needs.length === 0 ? (
          <Quiet />
        ) : (
          <ol class="panel needs">
            {needs.map((one) => (
              <Need key={one.id} need={one} chosen={one.id === id} choose={() => (chosen.value = one.id)} />
            ))}
          </ol>
        )}
      </section>
      <div class="now-side">
        <UnderWay />
        <Landing />
      </div>
    </div>
  );
}

/** Nothing needs anybody: what goes on, or what to do next. */
function Quiet() {
  const deck = store.deck.value;
  const agents = deck?.agents ?? 0;
  if (agents > 0) {
    return (
      <div class="panel">
        <Empty title="Nothing needs you" next="quarterdeck ps">
          {plural(agents, "agent is", "agents are")} at work. Whatever needs a person appears here by itself.
        </Empty>
      </div>
    );
  }
  const still = standing(store.runs.all());
  if (still) {
    return (
      <div class="panel">
        <Empty title={still.title} next={still.next}>
          No agent is at work. {still.words}
        </Empty>
      </div>
    );
  }
  return (
    <div class="panel">
      <Empty
        title={store.runs.ids.value.length ? "All work is done" : "No run yet"}
        next={'quarterdeck run "what should be true afterwards"'}
      >
        Start a run here with <kbd>c</kbd>, or in a terminal:
      </Empty>
    </div>
  );
}

function UnderWay() {
  const runs = store.runs
    .all()
    .filter((run) => run.finished_at === null)
    .sort((a, b) => b.updated_at - a.updated_at);
  if (runs.length === 0) return null;
  return (
    <section class="now-runs" aria-labelledby="under-way">
      <header class="now-head">
        <h2 id="under-way">Under way</h2>
        <p class="quiet">{plural(runs.length, "run")}</p>
      </header>
      <ul class="panel run-list">
        {runs.slice(0, 30).map((run) => (
          <RunLine key={run.run} run={run} />
        ))}
        {runs.length > 30 && <li class="quiet run-line">and {runs.length - 30} more</li>}
      </ul>
    </section>
  );
}

function RunLine({ run }: { readonly run: RunRow }) {
  const { tasks } = run;
  const title = <span class="run-goal">{run.goal}</span>;
  return (
    <li class="run-line">
      <div class="run-top">
        <Mark state={run.status} bare />
        {exists("run") ? <a href={link(["run", run.run])}>{title}</a> : title}
      </div>
      <Meter
        value={tasks.merged}
        max={tasks.total}
        label={`${tasks.merged} of ${plural(tasks.total, "task")} merged`}
        tone={tasks.failed ? "wait" : "good"}
      />
      <p class="run-facts faint">
        <span>
          {tasks.merged}/{tasks.total} merged
        </span>
        {tasks.active > 0 && <span>{tasks.active} active</span>}
        {tasks.failed > 0 && <span class="tone-bad">{tasks.failed} failed</span>}
        <span title={`${percent(run.cost_usd, run.budget_usd)} of the budget`}>
          <Money usd={run.cost_usd} /> of <Money usd={run.budget_usd} />
        </span>
        <When at={run.created_at} as="for" />
        {run.held && <Tag tone="wait">{run.held}</Tag>}
      </p>
    </li>
  );
}
