// Take back what a run, or one of its tasks, landed: by a run of its own, through the same gate.

import { useState } from "preact/hooks";
import { part, post } from "../api/client.ts";
import { AskForm, ask } from "../components/Dialog.tsx";
import { say } from "../components/Toast.tsx";
import { plural } from "../components/words.ts";
import { exists } from "../screens/registry.ts";
import { go } from "../shell/router.ts";

interface Started {
  readonly run: string;
}

/** `task` null = all that the run landed. */
export function revert(run: string, task: string | null, changes: number): void {
  ask(<Revert run={run} task={task} changes={changes} />);
}

function Revert(props: { readonly run: string; readonly task: string | null; readonly changes: number }) {
  const { run, task } = props;
  const [dependents, setDependents] = useState(false);
  return (
    <AskForm
      title={task === null ? "Take back this run?" : `Take back ${task}?`}
      send="Take back"
      look="danger"
      submit={async () => {
        const order = { ...(task !== null && { task }), with_dependents: dependents };
        const started = await post<Started>(`runs/${part(run)}/revert`, order);
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
