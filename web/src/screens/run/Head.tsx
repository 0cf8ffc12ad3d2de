// A run at a glance: what it is for, where it stands, what it costs, and what can be done about it.

import { approveBySight } from "../../actions/decide.tsx";
import { revertRun } from "../../actions/revert.tsx";
import {
  answer,
  cancel,
  FINISHED,
  PAUSABLE,
  pauseOrResume,
  RESUMABLE,
  raiseBudget,
  resume,
} from "../../actions/steer.tsx";
import type { RunDetail, RunRow, TaskCounts } from "../../api/types.ts";
import { Button, Meter, Money, Tag, When } from "../../components/basics.tsx";
import { Fact, Facts } from "../../components/Facts.tsx";
import { Glyph, Mark } from "../../components/Mark.tsx";
import { count, duration, money, percent, plural } from "../../components/words.ts";
import { link } from "../../shell/router.ts";
import { now } from "../../store/clock.ts";
import { store } from "../../store/live.ts";

export function Head(props: { readonly run: RunRow; readonly detail: RunDetail | null; readonly openBad: () => void }) {
  const { run, detail } = props;
  return (
    <header class="run-head">
      <p class="run-crumb">
        <a href={link(["run"])}>Runs</a>
        <span class="faint mono">{run.run}</span>
        <Mark state={run.status} />
      </p>
      <h1>{run.goal}</h1>
      <p class="run-where quiet">
        <span class="mono">{run.repository.split("/").pop()}</span> → <span class="mono">{run.branch}</span>
        <span>by {run.user}</span>
        <When at={run.created_at} word="ordered" />
      </p>
      <Acts run={run} />
      <Readings run={run} />
      <Why run={run} detail={detail} openBad={props.openBad} />
    </header>
  );
}

/** Whether more money lets it go on: it has not ended, or ended for want of it. */
export const mayRaise = (run: RunRow): boolean =>
  !FINISHED.includes(run.status) ||
  store.needs.all().some((need) => need.actions.includes("raise_budget") && need.runs.includes(run.run));

function Acts({ run }: { readonly run: RunRow }) {
  const ended = FINISHED.includes(run.status);
  const again = run.status === "partial" || run.status === "failed";
  return (
    <div class="buttons run-acts">
      {PAUSABLE.includes(run.status) && (
        <Button orders act={() => pauseOrResume(run)} keys="p">
          Pause
        </Button>
      )}
      {RESUMABLE.includes(run.status) && (
        <Button orders act={() => resume(run)} keys={PAUSABLE.includes(run.status) ? undefined : "p"}>
          {again ? "Try what did not merge" : "Resume"}
        </Button>
      )}
      {mayRaise(run) && (
        <Button orders look={ended ? "main" : undefined} act={() => raiseBudget(run)} keys="b">
          Raise the budget
        </Button>
      )}
      {ended && run.tasks.merged > 0 && (
        <Button orders act={() => revertRun(run)}>
          Take back
        </Button>
      )}
      {!ended && (
        <Button orders look="danger" act={() => cancel(run)}>
          Cancel
        </Button>
      )}
    </div>
  );
}

function Readings({ run }: { readonly run: RunRow }) {
  const { tasks, tokens } = run;
  const input = tokens.input + tokens.cache_read + tokens.cache_write;
  const lasted = (run.finished_at ?? now.value) - run.created_at;
  const perHour = lasted > 60 ? (run.cost_usd / lasted) * 3600 : null;
  return (
    <Facts>
      <Fact name="Tasks">
        <span class="reading">
          {tasks.merged} of {tasks.total} merged
        </span>
        <TaskBar tasks={tasks} />
      </Fact>
      <Fact name="Budget">
        <span class="reading" title={perHour === null ? undefined : `${money(perHour)} an hour so far`}>
          <Money usd={run.cost_usd} /> of <Money usd={run.budget_usd} />
        </span>
        <Meter
          value={run.cost_usd}
          max={run.budget_usd}
          label={`${percent(run.cost_usd, run.budget_usd)} of the budget is spent`}
          tone={
            run.cost_usd >= run.budget_usd * 0.9 ? "bad" : run.cost_usd >= run.budget_usd * 0.7 ? "wait" : undefined
          }
        />
      </Fact>
      <Fact name={run.finished_at === null ? "Going on for" : "Took"}>{duration(lasted)}</Fact>
      <Fact name="Tokens">
        <span
          title={`${tokens.input} fresh, ${tokens.cache_read} from the cache, ${tokens.cache_write} into it, ${tokens.output} out`}
        >
          {count(input)} in <span class="faint">({percent(tokens.cache_read, input)} cached)</span> ·{" "}
          {count(tokens.output)} out
        </span>
      </Fact>
    </Facts>
  );
}

/** Where the tasks stand, as parts of one bar. */
function TaskBar({ tasks }: { readonly tasks: TaskCounts }) {
  const rest = tasks.total - tasks.merged - tasks.active - tasks.waiting - tasks.failed;
  const parts: readonly (readonly [string, number, string])[] = [
    ["good", tasks.merged, "merged"],
    ["busy", tasks.active, "active"],
    ["wait", tasks.waiting, "waiting"],
    ["bad", tasks.failed, "failed"],
    ["idle", Math.max(0, rest), "pending"],
  ];
  const there = parts.filter(([, number]) => number > 0);
  const words = there.map(([, number, word]) => `${number} ${word}`).join(", ");
  return (
    <span class="task-bar" role="img" aria-label={words || "no tasks"} title={words}>
      {there.map(([tone, number]) => (
        <span key={tone} class={`part-${tone}`} style={{ flexGrow: number }} />
      ))}
    </span>
  );
}

/** Why it stands as it does, and what a person can do about it. */
function Why(props: { readonly run: RunRow; readonly detail: RunDetail | null; readonly openBad: () => void }) {
  const { run, detail } = props;
  const waits = detail?.waits ?? [];
  const bad = detail?.first_bad ?? null;
  // An open question is asked above: it is not told a second time as something that went wrong.
  const told = bad !== null && !waits.some((wait) => wait.question === bad.why);
  const asked = detail?.approvals.filter((approval) => approval.status === "open") ?? [];
  return (
    <div class="run-why">
      {waits.map((wait) => (
        <Line
          key={`${wait.attempt} ${wait.since}`}
          tone="wait"
          title={wait.task ? `${wait.task} asks` : "The run asks"}
        >
          <p class="why-text">{wait.question}</p>
          <div class="buttons">
            {wait.question === bad?.why && (
              <Button little act={props.openBad} keys="f">
                Go there
              </Button>
            )}
            <Button orders little look="main" act={() => answer(run.run, wait.attempt || null, wait.question)}>
              Answer
            </Button>
          </div>
        </Line>
      ))}
      {asked.map((approval) => (
        <Line key={approval.approval} tone="wait" title="Waits for your approval">
          <p class="why-text">{approval.title}</p>
          <Button little look="main" act={() => approveBySight(approval.approval)}>
            Look at it
          </Button>
        </Line>
      ))}
      {run.held && (
        <Line tone="idle" title="Held back">
          <p class="why-text">{run.held}</p>
        </Line>
      )}
      {run.reason && run.reason !== run.status && waits.length === 0 && (
        <Line tone={run.status === "failed" ? "bad" : "wait"} title={run.status === "failed" ? "Why it failed" : "Why"}>
          <p class="why-text">{run.reason}</p>
        </Line>
      )}
      {bad && told && (
        <Line tone="bad" title="First bad step">
          <p class="why-text">
            {bad.what}: {bad.why} <When at={bad.at} />
          </p>
          <Button little act={props.openBad} keys="f">
            Go there
          </Button>
        </Line>
      )}
      {detail?.notices.map((notice) => (
        <Line key={`${notice.about} ${notice.name} ${notice.at}`} tone="idle" title="Unusual spending">
          <p class="why-text">
            {notice.about} {notice.name}: {money(notice.spent_usd)}, usually {money(notice.usual_usd)}{" "}
            <Tag title={`Over ${money(notice.bound_usd)} is worth a notice`}>of {plural(notice.samples, "other")}</Tag>
          </p>
        </Line>
      ))}
    </div>
  );
}

function Line(props: {
  readonly tone: "bad" | "wait" | "idle";
  readonly title: string;
  readonly children: preact.ComponentChildren;
}) {
  const shape = props.tone === "bad" ? "triangle" : props.tone === "wait" ? "diamond" : "hollow";
  return (
    <div class="why-line">
      <span class={`mark tone-${props.tone}`}>
        <Glyph shape={shape} />
        <strong>{props.title}</strong>
      </span>
      {props.children}
    </div>
  );
}
