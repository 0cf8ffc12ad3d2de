// What was decided lately: by whom, and why.

import { get } from "../../api/client.ts";
import type { ApprovalRow } from "../../api/types.ts";
import { Empty, When } from "../../components/basics.tsx";
import { Refusal } from "../../components/Dialog.tsx";
import { Mark } from "../../components/Mark.tsx";
import { useAnswer } from "../../components/useAnswer.ts";
import { link } from "../../shell/router.ts";
import { store } from "../../store/live.ts";

const MOST = 100;

export function Decided({ chosen }: { readonly chosen: string | null }) {
  // One that is decided leaves the open ones: then there is something new to read.
  const answer = useAnswer(
    (signal) => get<ApprovalRow[]>("approvals", { open: false }, signal),
    store.approvals.ids.value.join(),
  );
  if (!answer.value)
    return answer.error === null ? <p class="quiet inbox-note">Reading…</p> : <Refusal error={answer.error} />;
  const decided = answer.value
    .filter((row) => row.status !== "open")
    .sort((a, b) => b.since - a.since)
    .slice(0, MOST);
  if (decided.length === 0) {
    return (
      <Empty title="Nothing was decided yet">What was approved, denied or not answered in time is listed here.</Empty>
    );
  }
  return (
    <ol>
      {decided.map((row) => (
        <li key={row.approval}>
          <a
            class="inbox-line"
            href={link(["inbox", row.approval], { show: "decided" })}
            aria-current={row.approval === chosen ? "true" : undefined}
          >
            <span class="inbox-kind">
              <Mark state={row.status} />
              {row.by && <span>by {row.by}</span>}
              <span class="faint inbox-age">
                asked <When at={row.since} />
              </span>
            </span>
            <span class="inbox-title">{row.title}</span>
            {row.reason && <span class="faint inbox-foot">{row.reason}</span>}
          </a>
        </li>
      ))}
    </ol>
  );
}
