// One thing that needs a person.

import type { NeedAction, NeedRow } from "../../api/types.ts";
import { Button, type ButtonLook, Command, Tag, When } from "../../components/basics.tsx";
import { Mark } from "../../components/Mark.tsx";
import { plural } from "../../components/words.ts";
import { link } from "../../shell/router.ts";
import { store } from "../../store/live.ts";
import { exists } from "../registry.ts";
import { actNeed } from "./acts.ts";

interface Shown {
  readonly word: string;
  readonly look?: ButtonLook;
  readonly keys?: string;
}

const ACTIONS: Readonly<Record<NeedAction, Shown>> = {
  approve: { word: "Approve", look: "main", keys: "a" },
  deny: { word: "Deny", keys: "d" },
  answer: { word: "Answer", look: "main", keys: "a" },
  resume: { word: "Resume", keys: "p" },
  raise_budget: { word: "Raise the budget" },
  retry: { word: "Try again" },
  open: { word: "Open", look: "bare", keys: "o" },
};

const KINDS: Readonly<Record<string, string>> = {
  approval: "Approval",
  question: "Question",
  escalated: "Escalated",
  incident: "Incident",
  silent: "Silent",
  budget: "Budget",
  notice: "Notice",
  failed: "Failed",
  infrastructure: "Machine",
};

export function Need(props: { readonly need: NeedRow; readonly chosen: boolean; readonly choose: () => void }) {
  const { need, chosen } = props;
  return (
    <li
      id={`need-${need.id}`}
      class={`need ${need.severity}${chosen ? " chosen" : ""}`}
      tabIndex={chosen ? 0 : -1}
      aria-current={chosen ? "true" : undefined}
      onClick={props.choose}
      onFocus={props.choose}
      onKeyDown={(event) => {
        if (event.key === "Enter" && event.target === event.currentTarget) actNeed(need, "open");
      }}
    >
      <Mark state={need.severity} bare />
      <div>
        <p class="need-kind">
          <span>{KINDS[need.kind] ?? need.kind}</span>
          {need.count > 1 && <Tag title="How often, from the same cause">×{need.count}</Tag>}
          <span class="faint">
            <When at={need.since} as="for" />
          </span>
        </p>
        <h2 class="need-title">{need.title}</h2>
      </div>
      <div class="buttons need-acts">
        {need.actions.map((action) => {
          const shown = ACTIONS[action];
          return (
            <Button
              key={action}
              look={shown.look === "main" && !chosen ? undefined : shown.look}
              little
              keys={chosen ? shown.keys : undefined}
              orders={action !== "open"}
              act={() => actNeed(need, action)}
            >
              {shown.word}
              <span class="unseen">: {need.title}</span>
            </Button>
          );
        })}
      </div>
      <div class="need-body">
        {need.detail && !need.title.includes(need.detail) && <p class="need-detail">{need.detail}</p>}
        <Runs ids={need.runs} />
        {chosen && need.next && <Command text={need.next} />}
      </div>
    </li>
  );
}

function Runs({ ids }: { readonly ids: readonly string[] }) {
  if (ids.length === 0) return null;
  const named = ids.slice(0, 3);
  return (
    <p class="need-runs faint">
      {named.map((id, at) => {
        const run = store.runs.get(id);
        const text = run?.goal ?? id;
        return (
          <span key={id} class="need-run">
            {at > 0 && " · "}
            {exists("run") ? <a href={link(["run", id])}>{text}</a> : text}
          </span>
        );
      })}
      {ids.length > named.length && ` and ${plural(ids.length - named.length, "more run")}`}
    </p>
  );
}
