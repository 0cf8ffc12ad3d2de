// Fleet: every agent at work. Progress is useful output, held against the agent's own pace, not a heartbeat.

import { computed, signal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { message, pauseOrResume, raiseBudget } from "../../actions/steer.tsx";
import type { AgentRow, RunRow } from "../../api/types.ts";
import { Button, Empty } from "../../components/basics.tsx";
import { beside } from "../../components/rows.ts";
import { Virtual } from "../../components/Virtual.tsx";
import { plural, whole } from "../../components/words.ts";
import { go } from "../../shell/router.ts";
import { useKeys } from "../../shell/useKeys.ts";
import { useMedia } from "../../shell/useMedia.ts";
import { now } from "../../store/clock.ts";
import { store } from "../../store/live.ts";
import { steady } from "../../store/steady.ts";
import { exists, type ScreenProps } from "../registry.ts";
import { Agent, AgentCells, FleetHead } from "./Agent.tsx";
import { counts, FILTERS, type Filter, ordered } from "./order.ts";
import "./fleet.css";

const filter = signal<Filter>("all");
const query = signal("");
const chosen = signal<string | null>(null);
/** Where there is no room for both, whether the agent is looked at and not the list. */
const looking = signal(false);
const ids = steady(() => ordered(store.agents.all(), filter.value, query.value).map((agent) => agent.attempt));
/** Once a second: they change with every step of every agent, and nobody reads them faster. */
const numbers = computed(() => {
  now.value;
  return counts(store.agents.members());
});

const NARROW = "(max-width: 899px)";
const ROW = 52;
const CARD = 108;

export default function Fleet({ place }: ScreenProps) {
  const search = useRef<HTMLInputElement>(null);
  const narrow = useMedia(NARROW);
  const asked = place.parts[0];
  useEffect(() => {
    if (!asked) return;
    filter.value = "all";
    query.value = "";
    chosen.value = asked;
    looking.value = true;
  }, [asked]);

  const agent = (): AgentRow | undefined => (chosen.value ? store.agents.peek(chosen.value) : undefined);
  const run = (): RunRow | undefined => store.runs.peek(agent()?.run ?? "");
  const move = (by: number) => {
    chosen.value = beside(ids.value, chosen.value, by);
    // The row takes the focus once it is drawn; until then the list has it, so that the next key counts too.
    document.querySelector<HTMLElement>(".fleet-list .row[tabindex='0']")?.focus({ preventScroll: true });
  };
  const open = (id = chosen.value) => {
    const row = id ? store.agents.peek(id) : undefined;
    if (row && exists("run")) go(["run", row.run], { attempt: row.attempt });
  };
  const withRun = (act: (run: RunRow) => void) => () => {
    const row = run();
    if (row) act(row);
  };
  useKeys("Fleet", [
    { keys: "j", also: ["ArrowDown"], does: "Next agent", act: () => move(1) },
    { keys: "k", also: ["ArrowUp"], does: "Previous agent", act: () => move(-1) },
    { keys: "PageDown", does: "Ten agents on", act: () => move(10) },
    { keys: "PageUp", does: "Ten agents back", act: () => move(-10) },
    { keys: "/", does: "Search", act: () => search.current?.focus() },
    { keys: "o", does: "Open the agent's thread", act: () => open() },
    { keys: "m", does: "Message the agent", orders: true, act: () => agent() && message(agent() as AgentRow) },
    { keys: "p", does: "Pause or resume its run", orders: true, act: withRun(pauseOrResume) },
    { keys: "b", does: "Raise its run's budget", orders: true, act: withRun(raiseBudget) },
    { keys: "Escape", does: "Clear the search, then the choice", act: () => leave(search.current) },
  ]);

  const shown = ids.value;
  const row = chosen.value;
  return (
    <div class={`fleet${row ? " with-detail" : ""}`}>
      <div class="fleet-main">
        <header class="fleet-head">
          <h1>Fleet</h1>
          <input
            ref={search}
            class="input fleet-search"
            type="search"
            placeholder="Agent, task, run, model"
            aria-label="Search agents"
            aria-keyshortcuts="/"
            value={query.value}
            onInput={(event) => (query.value = event.currentTarget.value)}
          />
          <Filters />
          <p class="unseen" role="status">
            {plural(shown.length, "agent")} shown
          </p>
        </header>
        {shown.length === 0 ? (
          <None />
        ) : (
          <Virtual
            ids={shown}
            height={narrow ? CARD : ROW}
            label="Agents at work"
            class={`fleet-list${narrow ? " cards" : ""}`}
            chosen={row}
            choose={(id) => (chosen.value = id)}
            pick={() => (looking.value = true)}
            open={(id) => open(id)}
            head={narrow ? undefined : <FleetHead />}
            row={(id) => <AgentCells id={id} card={narrow} />}
          />
        )}
      </div>
      {row && (!narrow || looking.value) && (
        <Agent
          id={row}
          open={() => open()}
          close={() => {
            looking.value = false;
            if (!narrow) chosen.value = null;
          }}
        />
      )}
    </div>
  );
}

function leave(search: HTMLInputElement | null): void {
  if (query.value) query.value = "";
  else if (looking.value && matchMedia(NARROW).matches) looking.value = false;
  else chosen.value = null;
  search?.blur();
}

function Filters() {
  const known = numbers.value;
  return (
    <div class="chips" role="group" aria-label="Which agents">
      {FILTERS.map(({ name, word }) =>
        name === "all" || known[name] > 0 || filter.value === name ? (
          <button
            key={name}
            type="button"
            class="chip"
            aria-pressed={filter.value === name}
            onClick={() => (filter.value = name)}
          >
            {word} <span class={name === "silent" && known.silent ? "tone-bad" : "faint"}>{whole(known[name])}</span>
          </button>
        ) : null,
      )}
    </div>
  );
}

function None() {
  if (store.agents.ids.value.length > 0) {
    return (
      <Empty title="No agent is like that">
        <Button
          act={() => {
            filter.value = "all";
            query.value = "";
          }}
        >
          Show all
        </Button>
      </Empty>
    );
  }
  return (
    <Empty title="No agent is at work" next={'quarterdeck run "what should be true afterwards"'}>
      Agents appear here as soon as a run needs them.
    </Empty>
  );
}
