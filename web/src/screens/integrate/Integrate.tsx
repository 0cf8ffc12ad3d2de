// Integrate: what is about to merge, gate by gate. What is tested on top of what, what has landed and who looked at it,
// what was sent back and why.

import { signal } from "@preact/signals";
import { useRef } from "preact/hooks";
import type { GateRow, LandedChange, ReturnedChange } from "../../api/types.ts";
import { Button, Empty, Tag, When } from "../../components/basics.tsx";
import { Glyph, Mark } from "../../components/Mark.tsx";
import { percent, plural } from "../../components/words.ts";
import { link } from "../../shell/router.ts";
import { useKeys } from "../../shell/useKeys.ts";
import { store } from "../../store/live.ts";
import { exists, type ScreenProps } from "../registry.ts";
import { ranked, since, unreviewed, wayOf } from "./lattice.ts";
import { Queue } from "./Queue.tsx";
import "./integrate.css";

const FIRST = 12;
const OPEN = 3;
const LISTED = 8;

const asked = signal("");
const most = signal(FIRST);

export default function Integrate(_: ScreenProps) {
  const field = useRef<HTMLInputElement>(null);
  const list = useRef<HTMLDivElement>(null);
  const all = ranked(store.gates.all());
  const words = asked.value.toLowerCase();
  const gates = all.filter((gate) => `${gate.repository} ${gate.branch}`.toLowerCase().includes(words));
  const deck = store.deck.value;

  const move = (by: number) => {
    const heads = [...(list.current?.querySelectorAll<HTMLElement>(".gate > summary") ?? [])];
    const at = heads.indexOf(document.activeElement as HTMLElement);
    heads[at < 0 ? 0 : Math.min(heads.length - 1, Math.max(0, at + by))]?.focus();
  };
  useKeys("Integrate", [
    { keys: "j", does: "Next gate", act: () => move(1) },
    { keys: "k", does: "Previous gate", act: () => move(-1) },
    { keys: "/", does: "Search", act: () => field.current?.focus() },
    { keys: "Escape", does: "Leave the search", act: () => field.current?.blur() },
  ]);

  return (
    <div class="screen integrate">
      <header>
        <h1>Integrate</h1>
        <p class="quiet" role="status">
          {plural(all.length, "recent branch", "recent branches")}
          {deck && deck.unreviewed.total > 0 && (
            <>
              {" · "}
              {deck.unreviewed.merged} of {plural(deck.unreviewed.total, "landed change")} without any review (
              {percent(deck.unreviewed.merged, deck.unreviewed.total)})
            </>
          )}
        </p>
        {all.length > 1 && (
          <input
            ref={field}
            class="input integrate-search"
            type="search"
            placeholder="Repository or branch"
            aria-label="Search branches"
            aria-keyshortcuts="/"
            value={asked.value}
            onInput={(event) => {
              asked.value = event.currentTarget.value;
            }}
          />
        )}
      </header>
      {all.length === 0 ? (
        <div class="panel">
          <Empty title="Nothing is about to merge" next={'quarterdeck run "what should be true afterwards"'}>
            The first change that an agent hands in opens the gate of its branch.
          </Empty>
        </div>
      ) : (
        <div ref={list} class="gates">
          {gates.slice(0, most.value).map((gate, at) => (
            <Gate key={gate.target} gate={gate} open={at < OPEN || gate.queue.length > 0} />
          ))}
          {gates.length === 0 && <Empty title="No branch is called that" next="quarterdeck ps" />}
          {gates.length > most.value && (
            <Button
              act={() => {
                most.value += FIRST;
              }}
            >
              Show more of {plural(gates.length, "branch", "branches")}
            </Button>
          )}
        </div>
      )}
    </div>
  );
}

function Gate({ gate, open }: { readonly gate: GateRow; readonly open: boolean }) {
  const missed = unreviewed(gate);
  return (
    <details class="panel gate" open={open}>
      <summary>
        <h2>
          <span class="mono">{gate.repository.split("/").pop() || gate.repository}</span>{" "}
          <span class="faint" aria-hidden="true">
            →
          </span>{" "}
          <span class="mono gate-branch" title={`${gate.repository} ${gate.branch}`}>
            {gate.branch}
          </span>
        </h2>
        <Tip gate={gate} />
        <span class="gate-counts faint">
          <span>{gate.queue.length} queued</span>
          <span>{many(gate.landed.length, LANDED_MOST)} landed</span>
          {missed > 0 && <span class="tone-wait">{missed} without review</span>}
          {gate.returned.length > 0 && <span>{many(gate.returned.length, LANDED_MOST)} sent back</span>}
        </span>
      </summary>
      {gate.stall && (
        <p class="gate-stall tone-bad">
          <Glyph shape="triangle" />
          <span>
            <strong>The gate cannot work.</strong> {gate.stall}
          </span>
        </p>
      )}
      <Queue gate={gate} />
      <div class="gate-history">
        <Landed changes={gate.landed} />
        <Returned gate={gate} titleOf={(attempt) => titleOf(gate, attempt)} />
      </div>
    </details>
  );
}

/** The server names the newest fifty. */
const LANDED_MOST = 50;
const many = (count: number, most: number): string => (count >= most ? `${most}+` : String(count));

function Tip({ gate }: { readonly gate: GateRow }) {
  const [state, word] =
    gate.tip_green === null ? ["pending", "not checked yet"] : gate.tip_green ? ["green", "green"] : ["red", "red"];
  return (
    <span class="gate-tip">
      <Mark state={state} word={`tip ${word}`} />
      <code class="faint" title={gate.tip}>
        {gate.tip.slice(0, 10)}
      </code>
    </span>
  );
}

function titleOf(gate: GateRow, attempt: string): string {
  const known = [...gate.queue, ...gate.landed, ...gate.returned].find((change) => change.attempt === attempt);
  return known?.title || known?.task || attempt;
}

export function ToTask(props: {
  readonly run: string;
  readonly task: string;
  readonly attempt: string;
  readonly title: string;
}) {
  const title = props.title || props.task;
  if (!exists("run")) return <span>{title}</span>;
  return <a href={link(["run", props.run], { task: props.task, attempt: props.attempt, show: "change" })}>{title}</a>;
}

function Landed({ changes }: { readonly changes: readonly LandedChange[] }) {
  return (
    <div>
      <h3>Landed</h3>
      {changes.length === 0 ? (
        <p class="quiet gate-none">Nothing yet</p>
      ) : (
        <Some of={changes}>
          {(change) => (
            <li key={`${change.attempt} ${change.commit}`} class="landed">
              <Mark state="merged" bare />
              <span class="cut">
                <ToTask {...change} />
              </span>
              <Tag tone={change.reviewed ? "idle" : "wait"}>{change.reviewed ? "reviewed" : "no review"}</Tag>
              <code class="faint" title={change.commit}>
                {change.commit.slice(0, 8)}
              </code>
              <span class="faint num">
                <When at={change.at} />
              </span>
              {change.together > 1 && (
                <p class="landed-how faint">1 of {change.together} in one step, tested together</p>
              )}
              {change.merged !== "" && <Way said={change.merged} />}
            </li>
          )}
        </Some>
      )}
    </div>
  );
}

/** By which way a change was merged, and under it, one a line, why the ways before it were not taken. */
export function Way({ said }: { readonly said: string }) {
  const { way, lost } = wayOf(said);
  return (
    <div class="way">
      {way}
      {lost.length > 0 && (
        <ul class="faint">
          {lost.map((reason) => (
            <li key={reason}>{reason}</li>
          ))}
        </ul>
      )}
    </div>
  );
}

const OUTCOMES: Readonly<Record<string, string>> = {
  failed: "red",
  conflict: "conflict",
  held: "waiting",
  cancelled: "cancelled",
};

/** Whether a change that was sent back still is somebody's problem. */
function Since({ gate, change }: { readonly gate: GateRow; readonly change: ReturnedChange }) {
  const known = since(gate, change);
  if (known === "landed") return <Tag tone="good">landed since</Tag>;
  if (known === "queued") return <Tag tone="busy">back in the queue</Tag>;
  const agent = store.agents
    .members()
    .find((row) => row.run === change.run && row.task === change.task && row.parent === null);
  return agent ? <Tag tone="busy">{agent.agent} works on it</Tag> : null;
}

function Returned({ gate, titleOf }: { readonly gate: GateRow; readonly titleOf: (attempt: string) => string }) {
  return (
    <div>
      <h3>Sent back</h3>
      {gate.returned.length === 0 ? (
        <p class="quiet gate-none">Nothing yet</p>
      ) : (
        <Some of={gate.returned}>
          {(change) => (
            <li key={`${change.attempt} ${change.at}`} class="returned">
              <Mark state={OUTCOMES[change.outcome] ?? change.outcome} word={change.outcome} />
              <span class="returned-title">
                <ToTask {...change} /> <Since gate={gate} change={change} />
              </span>
              <span class="faint num">
                <When at={change.at} />
              </span>
              <p class="returned-why">{change.reason || "No reason is on record."}</p>
              {change.against.length > 0 && (
                <p class="returned-why">
                  <span class="faint">Against</span> {change.against.map(titleOf).join(", ")}
                </p>
              )}
              {change.tried !== "" && <Way said={`no way merges it (${change.tried})`} />}
            </li>
          )}
        </Some>
      )}
    </div>
  );
}

/** The newest ones, and the rest when asked. */
function Some<T>(props: { readonly of: readonly T[]; readonly children: (one: T) => preact.VNode }) {
  const rest = props.of.slice(LISTED);
  return (
    <>
      <ul class="changes">{props.of.slice(0, LISTED).map(props.children)}</ul>
      {rest.length > 0 && (
        <details class="changes-more">
          <summary>{plural(rest.length, "earlier one")}</summary>
          <ul class="changes">{rest.map(props.children)}</ul>
        </details>
      )}
    </>
  );
}
