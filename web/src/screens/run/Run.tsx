// Run: one goal being carried out. Where it stands, its tasks, what happened when, its report, and beside them one task
// with its thread and its change.
// Rules: rows that the stream brings count over what was read once. What is looked at stands in the address, so that it
// can be sent to somebody and Back works.

import { useEffect, useState } from "preact/hooks";
import { pauseOrResume, raiseBudget, resume } from "../../actions/steer.tsx";
import { get, part, Refused } from "../../api/client.ts";
import type { RunDetail } from "../../api/types.ts";
import { Button, Empty } from "../../components/basics.tsx";
import { Refusal } from "../../components/Dialog.tsx";
import { Fact, Facts } from "../../components/Facts.tsx";
import { Markdown } from "../../components/Markdown.tsx";
import { useAnswer } from "../../components/useAnswer.ts";
import { plural } from "../../components/words.ts";
import { go, link, type Place, swap } from "../../shell/router.ts";
import { useKeys } from "../../shell/useKeys.ts";
import { follow, store } from "../../store/live.ts";
import type { ScreenProps } from "../registry.ts";
import { Head, mayRaise } from "./Head.tsx";
import { Pane, PLANNER, type Tab } from "./Pane.tsx";
import { Runs } from "./Runs.tsx";
import { stepTask, Tasks, toggleList, useOrder } from "./Tasks.tsx";
import { NoTimeline, TimelineView } from "./TimelineView.tsx";
import type { Span } from "./timeline.ts";
import { useTimeline } from "./useTimeline.ts";
import "./run.css";

/** Spans that are numbered in the run's stream and not in the attempt's. */
const OF_RUN: ReadonlySet<string> = new Set(["check", "review", "gate"]);

export default function Run({ place }: ScreenProps) {
  const id = place.parts[0];
  return id === undefined ? <Runs /> : <One key={id} id={id} place={place} />;
}

function One({ id, place }: { readonly id: string; readonly place: Place }) {
  useEffect(() => {
    follow(id);
    return () => follow(null);
  }, [id]);
  const row = store.runs.get(id);
  const touched = store.touched.value;
  const grown = Object.values(touched).reduce((sum, length) => sum + length, row?.version ?? 0);
  const answer = useAnswer((signal) => get<RunDetail>(`runs/${part(id)}`, {}, signal), grown, 1500);
  const detail = answer.value;
  const run = row ?? detail?.run;
  useEffect(() => {
    if (run) document.title = `${run.goal.slice(0, 60)} · Quarterdeck`;
  }, [run?.goal]);
  if (!run || !detail) return <Missing id={id} error={answer.error} reading={answer.reading} />;
  return <Shown place={place} detail={{ ...detail, run }} grown={grown} />;
}

function Missing(props: { readonly id: string; readonly error: unknown; readonly reading: boolean }) {
  if (props.reading) return <p class="waiting-note quiet">Reading the run…</p>;
  if (props.error instanceof Refused && props.error.status === 404) {
    return (
      <Empty title={`There is no run ${props.id}`} next="quarterdeck ps">
        <a href={link(["run"])}>See all runs</a>
      </Empty>
    );
  }
  return (
    <div class="screen">
      <Refusal error={props.error} />
    </div>
  );
}

function Shown({
  place,
  detail,
  grown,
}: {
  readonly place: Place;
  readonly detail: RunDetail;
  readonly grown: number;
}) {
  const { run } = detail;
  const live = store.tasks.all().filter((task) => task.run === run.run);
  const tasks = live.length > 0 ? live : detail.tasks;
  const order = useOrder(tasks);
  const { timeline, error } = useTimeline(run.run, grown);

  const wanted = place.params["task"] ?? taskOf(detail, place.params["attempt"]);
  const task = tasks.find((one) => one.task === wanted) ?? null;
  const planning = wanted === PLANNER && detail.attempts.some((attempt) => attempt.task === PLANNER);
  const chosen = task?.task ?? (planning ? PLANNER : null);
  const tab: Tab = place.params["show"] === "change" ? "change" : "thread";
  const seq = place.params["seq"] ? Number(place.params["seq"]) : null;

  const path = ["run", run.run];
  const choose = (name: string | null) => go(path, { task: name, show: name ? place.params["show"] : null });
  const openAt = (attempt: string, of: string, at: number | null) =>
    go(path, { task: of, attempt, seq: at === null ? null : String(at) });
  const openBad = () => {
    const bad = detail.first_bad;
    if (bad) openAt(bad.attempt, taskOf(detail, bad.attempt) ?? "", bad.seq);
  };
  const move = (by: number) => {
    const next = stepTask(order, chosen, by);
    if (next) swap(path, { task: next, show: place.params["show"] });
  };
  const titles = new Map(tasks.map((one) => [one.task, one.title]));
  const agents = new Map(detail.attempts.map((attempt) => [attempt.attempt, attempt]));
  const titleOf = (attempt: string, of: string): string => {
    const known = agents.get(attempt);
    const task = of || known?.task || "";
    const title = titles.get(task) ?? (task === PLANNER ? "Planning" : task);
    if (known?.parent) return `${known.agent} for ${title}`;
    return known && known.number > 1 ? `${title} · ${known.number}` : title || attempt;
  };

  useKeys("Run", [
    { keys: "j", does: "Next task", act: () => move(1) },
    { keys: "k", does: "Previous task", act: () => move(-1) },
    { keys: "f", does: "Go to the first bad step", act: openBad },
    { keys: "b", does: "Raise the budget", orders: true, act: () => mayRaise(run) && raiseBudget(run) },
    {
      keys: "p",
      does: "Pause or resume",
      orders: true,
      act: () => (run.finished_at === null ? pauseOrResume(run) : resume(run)),
    },
    { keys: "e", does: "Tasks as a graph or a list", act: toggleList },
    { keys: "w", does: "Go to the timeline", act: () => focusOn(".lanes-frame") },
    { keys: "u", does: "All runs", act: () => go(["run"]) },
  ]);

  return (
    <div class={chosen === null ? "run" : "run with-pane"}>
      <div class="run-main">
        <Head run={run} detail={detail} openBad={openBad} />
        {detail.report !== null && <Report text={detail.report} />}
        <Tasks tasks={tasks} order={order} chosen={chosen} choose={choose} status={run.status} run={run.run} />
        {detail.attempts.some((attempt) => attempt.task === PLANNER) && (
          <p class="run-planning">
            <a href={link(path, { task: PLANNER })}>See how the plan was made</a>
          </p>
        )}
        {error !== null && <Refusal error={error} />}
        {timeline && timeline.count > 0 ? (
          <TimelineView
            timeline={timeline}
            finished={run.finished_at}
            titleOf={titleOf}
            chosenAttempt={place.params["attempt"] ?? null}
            open={(span: Span, attempt, of) => openAt(attempt, of || PLANNER, OF_RUN.has(span.kind) ? null : span.seq)}
          />
        ) : (
          timeline && <NoTimeline />
        )}
        <Origin detail={detail} />
      </div>
      {chosen !== null && (
        <Pane
          key={chosen}
          detail={detail}
          task={task}
          attempt={place.params["attempt"] ?? null}
          tab={tab}
          seq={seq}
          close={() => go(path)}
          go={(to) =>
            swap(path, {
              task: chosen,
              attempt: to.attempt === undefined ? place.params["attempt"] : to.attempt,
              show: to.tab === undefined ? place.params["show"] : to.tab,
              seq: to.seq === undefined ? place.params["seq"] : to.seq === null ? null : String(to.seq),
            })
          }
        />
      )}
    </div>
  );
}

function taskOf(detail: RunDetail, attempt: string | undefined): string | null {
  return detail.attempts.find((row) => row.attempt === attempt)?.task || null;
}

function focusOn(selector: string): void {
  const element = document.querySelector<HTMLElement>(selector);
  element?.scrollIntoView({ block: "nearest" });
  element?.focus({ preventScroll: true });
}

/** Its beginning says how the run ended; the rest is there when asked. */
function Report({ text }: { readonly text: string }) {
  const [whole, setWhole] = useState(false);
  return (
    <section class="panel run-report" aria-labelledby="report-title">
      <header>
        <h2 id="report-title">Report</h2>
        <Button little act={() => setWhole(!whole)} expanded={whole}>
          {whole ? "Show less" : "Show all"}
        </Button>
      </header>
      <div class={whole ? "report-body" : "report-body clipped"} tabIndex={0} role="group" aria-label="Report">
        <Markdown text={text} />
      </div>
    </section>
  );
}

/** How it was ordered: what an odd result is traced back with. */
function Origin({ detail }: { readonly detail: RunDetail }) {
  const { created } = detail;
  return (
    <details class="run-origin">
      <summary class="faint">How it was ordered</summary>
      <Facts>
        <Fact name="Repository">
          <span class="mono">{detail.run.repository}</span>
        </Fact>
        <Fact name="From">
          <span class="mono" title={created.base}>
            {created.base.slice(0, 12)}
          </span>
        </Fact>
        <Fact name="Into">
          <span class="mono">{created.into}</span>
        </Fact>
        <Fact name="At once">{plural(created.max_parallel, "agent")}</Fact>
        <Fact name="Sandbox">{created.sandbox}</Fact>
        <Fact name="Configuration">
          {created.config.map((line) => (
            <span key={line} class="origin-line">
              {line}
            </span>
          ))}
        </Fact>
      </Facts>
    </details>
  );
}
