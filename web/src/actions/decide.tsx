// Approve and deny: always the exact action that was shown, by its hash.

import { useEffect, useState } from "preact/hooks";
import { get, part, post } from "../api/client.ts";
import type { ApprovalDetail } from "../api/types.ts";
import { Field } from "../components/basics.tsx";
import { AskForm, ask, Refusal } from "../components/Dialog.tsx";
import { say } from "../components/Toast.tsx";
import { Subject } from "./Subject.tsx";

export type Verdict = "approve" | "deny";

/** Raises Refused: stale, decided already, expired. */
export async function decide(approval: ApprovalDetail, verdict: Verdict, reason: string): Promise<void> {
  const order = { verdict, action_hash: approval.action_hash, reason };
  await post(`approvals/${part(approval.approval)}`, order);
  say(verdict === "approve" ? `Approved: ${approval.title}` : `Denied: ${approval.title}`);
}

export function approveBySight(id: string): void {
  ask(<Decide id={id} verdict="approve" />);
}

export function denyBySight(id: string): void {
  ask(<Decide id={id} verdict="deny" />);
}

function Decide({ id, verdict }: { readonly id: string; readonly verdict: Verdict }) {
  const [detail, setDetail] = useState<ApprovalDetail | null>(null);
  const [error, setError] = useState<unknown>(null);
  const [reason, setReason] = useState("");
  useEffect(() => {
    const reading = new AbortController();
    get<ApprovalDetail>(`approvals/${part(id)}`, {}, reading.signal).then(setDetail, (failed: unknown) => {
      if (!reading.signal.aborted) setError(failed);
    });
    return () => reading.abort();
  }, [id]);
  const approve = verdict === "approve";
  return (
    <AskForm
      title={approve ? "Approve this action?" : "Deny this action?"}
      send={approve ? "Approve" : "Deny"}
      look={approve ? "main" : "danger"}
      wide
      ready={detail !== null && (approve || reason.trim() !== "")}
      submit={async () => {
        if (detail) await decide(detail, verdict, reason.trim());
      }}
    >
      {detail ? <Subject approval={detail} /> : error === null ? <p class="quiet">Reading the action…</p> : null}
      {error !== null && <Refusal error={error} />}
      <Field label={approve ? "Reason (optional)" : "Reason"} hint="The agent reads it; it stays on record">
        <textarea
          class="input"
          rows={2}
          autofocus={!approve}
          value={reason}
          onInput={(event) => setReason(event.currentTarget.value)}
        />
      </Field>
    </AskForm>
  );
}
