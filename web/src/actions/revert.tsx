// Take back what a run, or one of its tasks, landed: by a run of its own, through the same gate.

import { useState } from "preact/hooks";
import { part } from "../api/client.ts";
import type { RunRow, TaskRow } from "../api/types.ts";
import { AskForm, ask } from "../components/Dialog.tsx";
import { say } from "../components/Toast.tsx";
import { plural } from "../components/words.ts";
import { exists } from "../screens/registry.ts";
import { go } from "../shell/router.ts";
import { ended, landed, type Seen } from "./bound.ts";
import { shown } from "./steer.tsx";
import { useBound } from "./useBound.ts";

interface Started {
  readonly run: string;
}

/** All that the run landed. */
export function revertRun(run: RunRow): void {
  ask(<Revert run={run.run} task={null} changes={run.tasks.merged} seen={() => landed(run)} />);
}

export function revertTask({ run, task, status }: Pick<TaskRow, "run" | "task" | "status">): void {
  ask(<Revert run={run} task={task} changes={1} seen={() => ended(run, shown(run), task, status)} />);
}

function Revert(props: {
  readonly run: string;
  readonly task: string | null;
  readonly changes: number;
  readonly seen: () => Seen;
}) {
  const { run, task } = props;
  const { sendSeen } = useBound(props.seen);
  const [dependents, setDependents] = useState(false);
  return (
    <AskForm
      title={task === null ? "Take back this run?" : `Take back ${task}?`}
      send="Take back"
      look="danger"
      submit={async () => {
        const order = { ...(task !== null && { task }), with_dependents: dependents };
        const started = await sendSeen<Started>(`runs/${part(run)}/revert`, order);
        say(`${started.run} takes it back`);
        if (exists("run")) go(["run", started.run]);
      }}
    >
      <p class="quiet">
        A new run takes back {task === null ? plural(props.changes, "merged change") : "this change"}. The gate checks
        the result before the branch moves. Nothing is rewritten.
      </p>
      <label class="check">
        <input type="checkbox" checked={dependents} onChange={(event) => setDependents(event.currentTarget.checked)} />
        <span>Also what was built on it</span>
      </label>
    </AskForm>
  );
}
