// One task beside the run: what it is, its attempts, and of one of them the thread or the change.

import { useEffect, useRef, useState } from "preact/hooks";
import { comment } from "../../actions/comment.tsx";
import { revertTask } from "../../actions/revert.tsx";
import { message, retry } from "../../actions/steer.tsx";
import { get, part, Refused } from "../../api/client.ts";
import type { AgentRow, AttemptRow, Diff, RunDetail, TaskRow } from "../../api/types.ts";
import { Button, Empty, Meter, Money, Tag, When } from "../../components/basics.tsx";
import { Refusal } from "../../components/Dialog.tsx";
import { DiffView } from "../../components/DiffView.tsx";
import { Fact, Facts } from "../../components/Facts.tsx";
import { Mark } from "../../components/Mark.tsx";
import { Segment } from "../../components/Segment.tsx";
import { useAnswer } from "../../components/useAnswer.ts";
import { duration, plural } from "../../components/words.ts";
import { useKeys } from "../../shell/useKeys.ts";
import { useMedia } from "../../shell/useMedia.ts";
import { now } from "../../store/clock.ts";
import { store } from "../../store/live.ts";
import { Thread } from "./Thread.tsx";

const TABS = [
  ["thread", "Thread"],
  ["change", "Change"],
] as const;
export type Tab = (typeof TABS)[number][0];

const RETRIABLE: readonly string[] = ["failed", "waiting", "blocked", "cancelled"];

export interface PaneProps {
  readonly detail: RunDetail;
  readonly task: TaskRow | null;
  readonly attempt: string | null;
  readonly tab: Tab;
  readonly seq: number | null;
  readonly go: (to: { attempt?: string | null; tab?: Tab; seq?: number | null }) => void;
  readonly close: () => void;
}

/** Attempts in the order in which they are told: each with those that work for it below. */
export function attemptsOf(all: readonly AttemptRow[], task: string): AttemptRow[] {
  const own = all.filter((row) => row.task === task && row.parent === null).sort((a, b) => a.number - b.number);
  const below = (row: AttemptRow): AttemptRow[] => [
    row,
    ...all
      .filter((other) => other.parent === row.attempt)
      .sort((a, b) => a.started_at - b.started_at)
      .flatMap(below),
  ];
  return own.flatMap(below);
}

export function Pane(props: PaneProps) {
  const { detail, task } = props;
  const attempts = attemptsOf(detail.attempts, task?.task ?? PLANNER);
  const newest = [...attempts].reverse().find((row) => row.parent === null);
  const attempt = attempts.find((row) => row.attempt === props.attempt) ?? newest ?? null;
  const agent = attempt ? store.agents.get(attempt.attempt) : undefined;
  const at = attempt ? attempts.indexOf(attempt) : -1;
  const title = task?.title ?? "Planning";
  // Where there is no room for both, the run itself is not in the page.
  const alone = useMedia("(max-width: 1179px)");
  useKeys("Task", [
    { keys: "Escape", does: "Close the task", act: props.close },
    { keys: "v", does: "Thread or change", act: () => props.go({ tab: props.tab === "thread" ? "change" : "thread" }) },
    {
      keys: "[",
      does: "Previous attempt",
      act: () => at > 0 && props.go({ attempt: attempts[at - 1]?.attempt ?? null }),
    },
    {
      keys: "]",
      does: "Next attempt",
      act: () => at + 1 < attempts.length && props.go({ attempt: attempts[at + 1]?.attempt ?? null }),
    },
    { keys: "m", does: "Message the agent", orders: true, act: () => agent && message(agent) },
    {
      keys: "r",
      orders: true,
      does: "Try the task again",
      act: () => task && RETRIABLE.includes(task.status) && retry(task),
    },
  ]);
  return (
    <aside class="pane" aria-label={task ? `Task ${title}` : title}>
      <header class="pane-head">
        <div class="pane-title">
          {alone ? <h1>{title}</h1> : <h2>{title}</h2>}
          <Button look="bare" little act={props.close} keys="Esc">
            Close
          </Button>
        </div>
        {task && <TaskFacts task={task} />}
        {attempts.length > 0 && (
          <div class="pane-attempts">
            <Attempts attempts={attempts} chosen={attempt} choose={(id) => props.go({ attempt: id, seq: null })} />
            <Segment
              label="Show of the attempt"
              options={TABS}
              chosen={props.tab}
              choose={(tab) => props.go({ tab })}
            />
          </div>
        )}
        {attempt && <AttemptFacts attempt={attempt} agent={agent} />}
      </header>
      {attempt ? (
        props.tab === "thread" ? (
          <LiveThread key={attempt.attempt} {...props} attempt={attempt} agent={agent} />
        ) : (
          <Change key={attempt.attempt} attempt={attempt} landed={task?.status === "merged"} />
        )
      ) : (
        <NotBegun task={task} />
      )}
    </aside>
  );
}

export const PLANNER = "_plan";

function NotBegun({ task }: { readonly task: TaskRow | null }) {
  const needs = task?.needs ?? [];
  return (
    <Empty title="Not begun">
      {needs.length > 0
        ? `It begins when ${needs.join(", ")} ${needs.length > 1 ? "are" : "is"} merged.`
        : "It begins when there is room for it."}
    </Empty>
  );
}

function TaskFacts({ task }: { readonly task: TaskRow }) {
  return (
    <>
      <p class="pane-state">
        <Mark state={task.status} />
        <span class="mono faint">{task.task}</span>
        {task.commit && (
          <span class="mono faint" title={task.commit}>
            {task.commit.slice(0, 10)}
          </span>
        )}
        {task.critical && <Tag title="On the longest chain of what is not merged yet">decides when the run ends</Tag>}
        {task.status === "merged" && (
          <Tag tone={task.reviewed ? "good" : "wait"}>{task.reviewed ? "reviewed" : "no review"}</Tag>
        )}
        {RETRIABLE.includes(task.status) && (
          <Button orders little act={() => retry(task)} keys="r">
            Try again
          </Button>
        )}
        {task.status === "merged" && (
          <Button orders little look="bare" act={() => revertTask(task)}>
            Take back
          </Button>
        )}
      </p>
      {task.reason && <p class="pane-reason">{task.reason}</p>}
      <p class="pane-paths faint">
        {task.paths.length > 0 && <span class="mono">{task.paths.join("  ")}</span>}
        {task.needs.length > 0 && <span>needs {task.needs.join(", ")}</span>}
      </p>
    </>
  );
}

function Attempts(props: {
  readonly attempts: readonly AttemptRow[];
  readonly chosen: AttemptRow | null;
  readonly choose: (attempt: string) => void;
}) {
  return (
    <label class="attempt-choice">
      <span class="unseen">Attempt</span>
      <select
        class="input"
        value={props.chosen?.attempt ?? ""}
        onChange={(event) => props.choose(event.currentTarget.value)}
      >
        {props.attempts.map((row) => (
          <option key={row.attempt} value={row.attempt}>
            {named(row)}
          </option>
        ))}
      </select>
    </label>
  );
}

/** `2 · coder · failed`; what works for another attempt is set in. */
function named(row: AttemptRow): string {
  const role = /\.(review|sub)\d+$/.exec(row.attempt)?.[1];
  const begin = row.parent === null ? `${row.number}` : `\u2003${role === "review" ? "review" : "sub-agent"}`;
  return `${begin} · ${row.agent || "git"} · ${row.status}`;
}

function AttemptFacts({ attempt, agent }: { readonly attempt: AttemptRow; readonly agent: AgentRow | undefined }) {
  const until = agent ? now.value : attempt.last_at;
  return (
    <Facts>
      <Fact name="Agent">
        {attempt.agent || "git"}{" "}
        <span class="faint">{[attempt.harness, agent?.model].filter(Boolean).join(" · ")}</span>
      </Fact>
      {agent?.waits_on && (
        <Fact name="Waits on">
          {agent.waits_on} {agent.waits_since !== null && <When at={agent.waits_since} word="since" />}
        </Fact>
      )}
      {agent?.useful && (
        <Fact name="Last useful">
          {agent.silent ? <Mark state="silent" /> : null} {agent.useful} <When at={agent.useful_at} />
        </Fact>
      )}
      <Fact name="Steps">
        {agent && agent.max_turns > 0 ? `${attempt.steps}, ${agent.turns} of ${agent.max_turns} turns` : attempt.steps}
      </Fact>
      <Fact name="Cost">
        <Money usd={agent?.spent_usd ?? attempt.cost_usd} />
        {agent && agent.cap_usd !== null && (
          <>
            {" "}
            of <Money usd={agent.cap_usd} />
            <Meter value={agent.spent_usd} max={agent.cap_usd} label="Of its cap is spent" />
          </>
        )}
      </Fact>
      <Fact name={agent ? "For" : "Took"}>{duration(until - attempt.started_at)}</Fact>
      {attempt.incarnation > 1 && <Fact name="Begun">{plural(attempt.incarnation, "time")}</Fact>}
    </Facts>
  );
}

function LiveThread(
  props: Omit<PaneProps, "attempt"> & { readonly attempt: AttemptRow; readonly agent: AgentRow | undefined },
) {
  const { attempt, agent } = props;
  const grown = store.touched.value[`attempt/${attempt.attempt}`] ?? 0;
  const window = useWindow(agent);
  return (
    <Thread
      attempt={attempt.attempt}
      length={useEvery(Math.max(grown, attempt.length), 500)}
      live={agent !== undefined}
      window={window}
      firstBad={props.detail.first_bad}
      seq={props.seq}
    />
  );
}

/** The agent's window; it stays known when the agent has ended. */
function useWindow(agent: AgentRow | undefined): number {
  const [known, setKnown] = useState(agent?.context_window ?? 0);
  useEffect(() => {
    if (agent && agent.context_window > 0) setKnown(agent.context_window);
  }, [agent?.context_window]);
  return known;
}

/** The value, but not more often than every so many milliseconds. */
function useEvery(value: number, ms: number): number {
  const [shown, setShown] = useState(value);
  const newest = useRef(value);
  newest.current = value;
  const differs = value !== shown;
  useEffect(() => {
    if (!differs) return;
    const timer = setTimeout(() => setShown(newest.current), ms);
    return () => clearTimeout(timer);
  }, [differs, ms]);
  return shown;
}

function Change({ attempt, landed }: { readonly attempt: AttemptRow; readonly landed: boolean }) {
  const { value, error, reading } = useAnswer(
    (signal) => get<Diff>(`attempts/${part(attempt.attempt)}/diff`, {}, signal),
    attempt.length,
    3000,
  );
  const none = error instanceof Refused && error.status === 404;
  if (value) {
    return (
      <div class="pane-change">
        {value.files.length === 0 ? (
          <Empty title="Nothing differs">The attempt ended without a change.</Empty>
        ) : (
          <DiffView
            diff={value}
            // Where the task's change has landed, nobody would read a comment.
            {...(landed
              ? {}
              : { comment: (path: string, line: number | null) => comment(attempt.attempt, path, line) })}
          />
        )}
      </div>
    );
  }
  if (none && attempt.parent !== null)
    return <Empty title="No change of its own">It looks at another attempt's.</Empty>;
  if (none) return <Empty title="No change yet">The change appears here when the agent has handed it in.</Empty>;
  if (error !== null) return <Refusal error={error} />;
  return <p class="quiet pane-note">{reading ? "Reading the change…" : ""}</p>;
}
