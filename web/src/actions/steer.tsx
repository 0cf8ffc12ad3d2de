// What a person does to runs, tasks and agents, for every screen: each asks for what it needs and says what happened.

import { useState } from "preact/hooks";
import { part, post } from "../api/client.ts";
import type { AgentRow, RunRow, TaskRow } from "../api/types.ts";
import { Field, Money } from "../components/basics.tsx";
import { AskForm, ask } from "../components/Dialog.tsx";
import { perform, say } from "../components/Toast.tsx";
import { store } from "../store/live.ts";
import { asked, ended, funded, postSeen, standing } from "./bound.ts";
import { useBound } from "./useBound.ts";

export const PAUSABLE: readonly string[] = ["created", "planning", "running", "waiting"];
export const RESUMABLE: readonly string[] = ["paused", "waiting", "partial", "failed", "cancelled"];
export const FINISHED: readonly string[] = ["done", "partial", "failed", "cancelled"];

/** Pause what goes on, resume what is paused. */
export function pauseOrResume(run: RunRow): void {
  if (run.status === "paused") resume(run);
  else pause(run);
}

export function pause(run: RunRow): void {
  perform(() => post(`runs/${part(run.run)}/pause`), `${run.run} is asked to pause`);
}

/** Go on; of a run that has ended, what did not merge is tried again. */
export function resume(run: RunRow): void {
  const order = run.status === "partial" || run.status === "failed" ? { retry: true } : {};
  perform(() => postSeen(`runs/${part(run.run)}/resume`, order, standing(run)), `${run.run} goes on`);
}

export function cancel(run: RunRow): void {
  ask(
    <AskForm
      title="Cancel this run?"
      send="Cancel the run"
      look="danger"
      submit={async () => {
        await post(`runs/${part(run.run)}/cancel`);
        say(`${run.run} is asked to end`);
      }}
    >
      <p>{run.goal}</p>
      <p class="quiet">
        {run.tasks.merged} of {run.tasks.total} tasks are merged and stay. Work in progress is kept until the run ends;
        nothing else lands.
      </p>
    </AskForm>,
  );
}

export function raiseBudget(run: RunRow): void {
  ask(<Budget run={run} />);
}

function Budget(props: { readonly run: RunRow }) {
  const { sendSeen, now } = useBound(() => funded(props.run));
  const run = now?.run ?? props.run;
  const [usd, setUsd] = useState(String(suggestion(run)));
  const amount = Number(usd);
  return (
    <AskForm
      title="Raise the budget"
      send="Raise"
      ready={amount > run.budget_usd}
      submit={async () => {
        await sendSeen(`runs/${part(run.run)}/budget`, { usd: amount });
        say(`${run.run} may spend up to $${amount}`);
      }}
    >
      <p>{run.goal}</p>
      <p class="quiet">
        Spent <Money usd={run.cost_usd} /> of <Money usd={run.budget_usd} />.
      </p>
      <Field label="New budget of the run in USD" hint={`More than ${run.budget_usd}`}>
        <input
          class="input"
          type="number"
          min={run.budget_usd}
          step="any"
          inputMode="decimal"
          autofocus
          value={usd}
          onInput={(event) => setUsd(event.currentTarget.value)}
        />
      </Field>
    </AskForm>
  );
}

const suggestion = (run: RunRow): number => Math.ceil(run.budget_usd * 1.5 * 100) / 100;

export function message(agent: Pick<AgentRow, "attempt" | "agent" | "title">): void {
  ask(<Message agent={agent} />);
}

function Message({ agent }: { readonly agent: Pick<AgentRow, "attempt" | "agent" | "title"> }) {
  const [text, setText] = useState("");
  return (
    <AskForm
      title={`Message ${agent.agent}`}
      send="Send"
      ready={text.trim() !== ""}
      submit={async () => {
        await post(`attempts/${part(agent.attempt)}/messages`, { text });
        say(`${agent.agent} reads it before its next step`);
      }}
    >
      <p class="quiet">{agent.title}</p>
      <Field label="Message">
        <textarea
          class="input"
          rows={4}
          autofocus
          value={text}
          onInput={(event) => setText(event.currentTarget.value)}
        />
      </Field>
    </AskForm>
  );
}

export function retry(task: Pick<TaskRow, "run" | "task" | "status">): void {
  ask(<Retry of={task} />);
}

function Retry({ of: { run, task, status } }: { readonly of: Pick<TaskRow, "run" | "task" | "status"> }) {
  const { sendSeen } = useBound(() => ended(run, shown(run), task, status));
  const [agent, setAgent] = useState("");
  return (
    <AskForm
      title={`Try ${task} again`}
      send="Try again"
      submit={async () => {
        await sendSeen(`tasks/${part(run)}/${part(task)}/retry`, agent.trim() ? { agent: agent.trim() } : {});
        say(`${task} is tried again`);
      }}
    >
      <Field label="With another agent" hint="Empty: the same one">
        <input class="input mono" autofocus value={agent} onInput={(event) => setAgent(event.currentTarget.value)} />
      </Field>
    </AskForm>
  );
}

export function answer(run: string, attempt: string | null, question: string): void {
  ask(<Answer run={run} attempt={attempt} question={question} />);
}

/** The run's version that this page shows. */
export const shown = (run: string): number | undefined => store.runs.peek(run)?.version;

function Answer(props: { readonly run: string; readonly attempt: string | null; readonly question: string }) {
  const { sendSeen } = useBound(() => asked(props.run, shown(props.run), props.attempt, props.question));
  const [text, setText] = useState("");
  return (
    <AskForm
      title="Answer"
      send="Send the answer"
      ready={text.trim() !== ""}
      submit={async () => {
        await sendSeen(`runs/${part(props.run)}/answer`, { text, ...(props.attempt && { attempt: props.attempt }) });
        say("The answer is sent");
      }}
    >
      <p>{props.question}</p>
      <Field label="Your answer">
        <textarea
          class="input"
          rows={4}
          autofocus
          value={text}
          onInput={(event) => setText(event.currentTarget.value)}
        />
      </Field>
    </AskForm>
  );
}
