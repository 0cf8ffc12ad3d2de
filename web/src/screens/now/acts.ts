// What is done about a need. Approving shows the exact action first: nobody approves what they have not seen.

import { approveBySight, denyBySight } from "../../actions/decide.tsx";
import { answer, raiseBudget, resume, retry } from "../../actions/steer.tsx";
import type { NeedAction, NeedRow } from "../../api/types.ts";
import { complain } from "../../components/Toast.tsx";
import { go } from "../../shell/router.ts";
import { store } from "../../store/live.ts";
import { exists } from "../registry.ts";

export function actNeed(need: NeedRow, action: NeedAction): void {
  const run = need.runs[0] ?? null;
  const row = run ? store.runs.peek(run) : undefined;
  if (action === "open") open(need);
  else if (action === "approve" && need.approval) approveBySight(need.approval);
  else if (action === "deny" && need.approval) denyBySight(need.approval);
  else if (action === "answer" && run) answer(run, need.attempt, need.detail || need.title);
  else if (action === "retry" && run && need.task)
    retry({ run, task: need.task, status: need.kind === "failed" ? "failed" : "waiting" });
  else if (action === "resume" && row) resume(row);
  else if (action === "raise_budget" && row) raiseBudget(row);
  else complain(`This is done in a terminal: ${need.next}`);
}

/** The key `a`: approve or answer, whichever it is about. */
export function primaryActs(need: NeedRow): void {
  const action = need.actions.find((one) => one === "approve" || one === "answer");
  if (action) actNeed(need, action);
}

function open(need: NeedRow): void {
  const run = need.runs[0];
  if (need.approval) go(["inbox", need.approval]);
  else if (need.kind === "question" || need.kind === "escalated") go(["inbox", need.id]);
  else if (run && exists("run")) go(["run", run], { attempt: need.attempt });
  else if (need.attempt) go(["fleet", need.attempt]);
}
