// A run's tasks, as a picture or as a list of the same order.

import { signal } from "@preact/signals";
import { useMemo } from "preact/hooks";
import type { TaskRow } from "../../api/types.ts";
import { Empty, Tag, When } from "../../components/basics.tsx";
import { Mark } from "../../components/Mark.tsx";
import { beside } from "../../components/rows.ts";
import { Segment } from "../../components/Segment.tsx";
import { Virtual } from "../../components/Virtual.tsx";
import { plural } from "../../components/words.ts";
import { Graph } from "./Graph.tsx";
import { layout } from "./graph.ts";

const ROW = 40;
const MOST_ROWS = 14;
const VIEWS = [
  ["graph", "Graph"],
  ["list", "List"],
] as const;

/** A picture needs room; a person who chose keeps what they chose. */
const asList = signal(matchMedia("(max-width: 699px)").matches);

export function toggleList(): void {
  asList.value = !asList.value;
}

/** Tasks in the order in which the picture is read: by what they need, then from top to bottom. */
export function useOrder(tasks: readonly TaskRow[]): readonly string[] {
  const shape = tasks.map((task) => `${task.task} ${task.needs}`).join("|");
  return useMemo(() => {
    const boxes = layout(tasks).boxes.flatMap((box) =>
      box.tasks.map((task) => ({ task, column: box.column, y: box.y })),
    );
    return boxes.sort((a, b) => a.column - b.column || a.y - b.y).map((box) => box.task);
  }, [shape]);
}

export function stepTask(order: readonly string[], chosen: string | null, by: number): string | null {
  return beside(order, chosen, by);
}

export function Tasks(props: {
  readonly tasks: readonly TaskRow[];
  readonly order: readonly string[];
  readonly chosen: string | null;
  readonly choose: (task: string) => void;
  readonly status: string;
  readonly run: string;
}) {
  const { tasks } = props;
  const list = asList.value;
  return (
    <section class="panel run-tasks" aria-labelledby="tasks-title">
      <header>
        <h2 id="tasks-title">Tasks</h2>
        {!list && tasks.some((task) => task.critical) && (
          <p class="legend quiet">
            <span class="legend-critical" aria-hidden="true" /> decides when the run ends
          </p>
        )}
        {tasks.length > 0 && (
          <Segment
            label="Show the tasks as"
            options={VIEWS}
            chosen={list ? "list" : "graph"}
            choose={(view) => {
              asList.value = view === "list";
            }}
          />
        )}
      </header>
      {tasks.length === 0 ? (
        <NoTasks status={props.status} run={props.run} />
      ) : list ? (
        <List {...props} />
      ) : (
        <Graph tasks={tasks} chosen={props.chosen} choose={props.choose} />
      )}
    </section>
  );
}

function NoTasks({ status, run }: { readonly status: string; readonly run: string }) {
  if (status === "created" || status === "planning") {
    return <Empty title="No plan yet">A planner works on it. Its tasks appear here by themselves.</Empty>;
  }
  return (
    <Empty title="No tasks" next={`quarterdeck show ${run}`}>
      The run ended before it had a plan.
    </Empty>
  );
}

function List(props: {
  readonly tasks: readonly TaskRow[];
  readonly order: readonly string[];
  readonly chosen: string | null;
  readonly choose: (task: string) => void;
}) {
  const byName = new Map(props.tasks.map((task) => [task.task, task]));
  return (
    <div style={{ height: `${Math.min(props.order.length, MOST_ROWS) * ROW}px` }}>
      <Virtual
        ids={props.order}
        height={ROW}
        label={plural(props.tasks.length, "task")}
        chosen={props.chosen}
        choose={props.choose}
        class="task-list"
        row={(name) => {
          const task = byName.get(name);
          return task ? <TaskLine task={task} /> : null;
        }}
      />
    </div>
  );
}

function TaskLine({ task }: { readonly task: TaskRow }) {
  return (
    <>
      <span role="cell" class="task-state">
        <Mark state={task.status} />
      </span>
      <span role="cell" class="task-name cut">
        {task.title}
        {task.critical && <Tag title="Decides when the run ends">critical</Tag>}
      </span>
      <span role="cell" class="task-needs cut faint">
        {task.needs.length > 0 ? `needs ${task.needs.join(", ")}` : ""}
      </span>
      <span role="cell" class="task-agent cut quiet">
        {task.agent}
        {task.attempts > 1 ? ` · attempt ${task.attempts}` : ""}
      </span>
      <span role="cell" class="task-when faint">
        <When at={task.updated_at} />
      </span>
    </>
  );
}
