// Ctrl-K: everything that can be gone to or done, found by a few letters.

import { useMemo, useRef, useState } from "preact/hooks";
import { startRun } from "../actions/StartRun.tsx";
import { ask, closeDialog, Dialog } from "../components/Dialog.tsx";
import { complain } from "../components/Toast.tsx";
import { exists, SCREENS } from "../screens/registry.ts";
import { store } from "../store/live.ts";
import { leave } from "../store/me.ts";
import { nextTheme } from "../store/prefs.ts";
import { mayOrder, me } from "../store/role.ts";
import { type Candidate, find } from "./find.ts";
import { showHelp } from "./Help.tsx";
import { go } from "./router.ts";

const MOST = 12;

interface Choice extends Candidate {
  readonly kind: string;
  readonly act: () => void;
}

export function openPalette(): void {
  ask(<Palette />);
}

function choices(): Choice[] {
  const found: Choice[] = SCREENS.map((entry) => ({
    text: entry.title,
    more: `g ${entry.key}`,
    kind: "Screen",
    act: () => go([entry.name]),
  }));
  if (mayOrder(me.peek())) found.push({ text: "Start a run", more: "c", kind: "Command", act: startRun });
  if (me.peek()?.session) {
    found.push({ text: "Sign out", more: "", kind: "Command", act: () => void leave().catch(complain) });
  }
  found.push(
    { text: "Change the theme", more: "t", kind: "Command", act: nextTheme },
    { text: "Show the keys", more: "?", kind: "Command", act: showHelp },
  );
  for (const need of store.ranked.peek()) {
    const to = need.approval
      ? ["inbox", need.approval]
      : need.kind === "question"
        ? ["inbox", need.id]
        : ["now", need.id];
    found.push({ text: need.title, more: need.detail, kind: "Need", act: () => go(to) });
  }
  for (const id of store.runs.ids.peek()) {
    const run = store.runs.peek(id);
    if (run && exists("run")) {
      found.push({ text: run.goal, more: `${run.run} ${run.status}`, kind: "Run", act: () => go(["run", run.run]) });
    }
  }
  for (const id of store.agents.ids.peek()) {
    const agent = store.agents.peek(id);
    if (agent) {
      found.push({
        text: `${agent.agent}: ${agent.title}`,
        more: agent.attempt,
        kind: "Agent",
        act: () => go(["fleet", agent.attempt]),
      });
    }
  }
  return found;
}

function Palette() {
  const [query, setQuery] = useState("");
  const [index, setIndex] = useState(0);
  const list = useRef<HTMLUListElement>(null);
  const all = useMemo(choices, []);
  const found = useMemo(() => find(all, query, MOST), [all, query]);
  const chosen = Math.min(index, found.length - 1);

  const move = (by: number) => {
    const next = Math.max(0, Math.min(found.length - 1, chosen + by));
    setIndex(next);
    list.current?.children[next]?.scrollIntoView({ block: "nearest" });
  };
  const choose = (choice: Choice | undefined) => {
    if (!choice) return;
    closeDialog();
    choice.act();
  };
  const press = (event: KeyboardEvent) => {
    if (event.key === "ArrowDown" || (event.ctrlKey && event.key === "n")) move(1);
    else if (event.key === "ArrowUp" || (event.ctrlKey && event.key === "p")) move(-1);
    else if (event.key === "Enter") choose(found[chosen]);
    else return;
    event.preventDefault();
  };

  return (
    <Dialog title="Find" label="Find a screen, run, agent or command">
      <div class="palette">
        <input
          class="input"
          role="combobox"
          aria-label="Find"
          aria-expanded="true"
          aria-controls="palette-list"
          aria-autocomplete="list"
          aria-activedescendant={found.length ? `choice-${chosen}` : undefined}
          placeholder="A screen, run, agent, or what you want to do"
          autofocus
          value={query}
          onInput={(event) => {
            setQuery(event.currentTarget.value);
            setIndex(0);
          }}
          onKeyDown={press}
        />
        <ul id="palette-list" ref={list} role="listbox" aria-label="Found">
          {found.map((choice, at) => (
            <li
              key={`${choice.kind} ${choice.text} ${choice.more}`}
              id={`choice-${at}`}
              role="option"
              aria-selected={at === chosen}
              onClick={() => choose(choice)}
            >
              <span class="quiet">{choice.kind}</span>
              <span class="cut">{choice.text}</span>
              <span class="faint cut">{choice.more}</span>
            </li>
          ))}
        </ul>
        {found.length === 0 && <p class="quiet">Nothing is called that.</p>}
      </div>
    </Dialog>
  );
}
