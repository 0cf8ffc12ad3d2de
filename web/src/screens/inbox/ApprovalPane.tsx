// One approval: the exact action, and yes or no.
// Rules: what is sent is bound to the hash of what was shown here. A high risk is asked about once more. A denial says
// why, because the agent reads it. Once somebody has decided, that is what is shown.

import { useEffect, useRef, useState } from "preact/hooks";
import { approveBySight, decide, type Verdict } from "../../actions/decide.tsx";
import { Subject } from "../../actions/Subject.tsx";
import { get, part } from "../../api/client.ts";
import type { ApprovalDetail } from "../../api/types.ts";
import { Button, Command, Field, When } from "../../components/basics.tsx";
import { Refusal } from "../../components/Dialog.tsx";
import { Mark } from "../../components/Mark.tsx";
import { link } from "../../shell/router.ts";
import { useKeys } from "../../shell/useKeys.ts";
import { store } from "../../store/live.ts";
import { exists } from "../registry.ts";

interface Props {
  readonly id: string;
  /** Whether it is still open, as far as the stream has said. */
  readonly open: boolean;
  readonly after: () => void;
}

export function ApprovalPane({ id, open, after }: Props) {
  const [detail, setDetail] = useState<ApprovalDetail | null>(null);
  const [error, setError] = useState<unknown>(null);
  const [reason, setReason] = useState("");
  const [sending, setSending] = useState(false);
  const field = useRef<HTMLTextAreaElement>(null);
  const row = store.approvals.get(id);

  // Read anew when the action changes, or when somebody has decided.
  useEffect(() => {
    const reading = new AbortController();
    get<ApprovalDetail>(`approvals/${part(id)}`, {}, reading.signal).then(
      (read) => {
        setDetail(read);
        setError(null);
      },
      (failed: unknown) => !reading.signal.aborted && setError(failed),
    );
    return () => reading.abort();
  }, [id, open, row?.action_hash]);

  const undecided = detail?.status === "open";
  const send = async (verdict: Verdict) => {
    if (!detail || !undecided || sending) return;
    if (verdict === "deny" && reason.trim() === "") {
      field.current?.focus();
      return;
    }
    if (verdict === "approve" && detail.risk === "high") {
      approveBySight(id);
      return;
    }
    setSending(true);
    try {
      await decide(detail, verdict, reason.trim());
      after();
    } catch (failed) {
      setError(failed);
    } finally {
      setSending(false);
    }
  };
  useKeys("This approval", [
    { keys: "a", does: "Approve", orders: true, act: () => void send("approve") },
    { keys: "d", does: "Deny (with a reason)", orders: true, act: () => void send("deny") },
  ]);

  if (!detail) return error === null ? <p class="quiet">Reading the action…</p> : <Refusal error={error} />;
  return (
    <>
      <RunOf run={detail.run} task={detail.task} attempt={detail.attempt} />
      <Subject approval={detail} alone />
      {error !== null && <Refusal error={error} />}
      {undecided ? (
        <form
          class="inbox-decide"
          onSubmit={(event) => {
            event.preventDefault();
          }}
        >
          <Field label="Reason" hint="The agent reads it and it stays on record. A denial needs one.">
            <textarea
              ref={field}
              class="input"
              rows={2}
              value={reason}
              onInput={(event) => setReason(event.currentTarget.value)}
            />
          </Field>
          <div class="buttons">
            <Button orders look="main" keys="a" disabled={sending} act={() => void send("approve")}>
              {detail.risk === "high" ? "Approve…" : "Approve"}
            </Button>
            <Button orders look="danger" keys="d" disabled={sending} act={() => void send("deny")}>
              Deny
            </Button>
          </div>
          <Command text={`quarterdeck approve ${id}`} />
        </form>
      ) : (
        <p class="inbox-decided">
          <Mark state={detail.status} />
          {detail.by && <span> by {detail.by}</span>}
          {detail.reason && <span class="quiet">: {detail.reason}</span>}
          {detail.status === "expired" && detail.expires_at !== null && (
            <span class="quiet">
              {" "}
              <When at={detail.expires_at} />
            </span>
          )}
        </p>
      )}
    </>
  );
}

export function RunOf(props: { readonly run: string; readonly task: string | null; readonly attempt: string | null }) {
  const run = store.runs.get(props.run);
  const words = run?.goal ?? props.run;
  return (
    <p class="quiet inbox-run">
      {exists("run") ? <a href={link(["run", props.run], { attempt: props.attempt })}>{words}</a> : words}
      {props.task && <span class="faint"> · {props.task}</span>}
    </p>
  );
}
