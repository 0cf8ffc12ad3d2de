// Inbox: what waits for a yes, a no or an answer. The exact action is read before it is decided, and the decision is
// bound to it.

import { computed } from "@preact/signals";
import { useEffect } from "preact/hooks";
import type { ApprovalRow } from "../../api/types.ts";
import { Empty, Tag, When } from "../../components/basics.tsx";
import { Mark, type Tone } from "../../components/Mark.tsx";
import { beside } from "../../components/rows.ts";
import { plural } from "../../components/words.ts";
import { go, link, swap } from "../../shell/router.ts";
import { useKeys } from "../../shell/useKeys.ts";
import { useMedia } from "../../shell/useMedia.ts";
import { atServer } from "../../store/clock.ts";
import { store } from "../../store/live.ts";
import type { ScreenProps } from "../registry.ts";
import { ApprovalPane } from "./ApprovalPane.tsx";
import { Decided } from "./Decided.tsx";
import { type Item, items } from "./items.ts";
import { QuestionPane } from "./QuestionPane.tsx";
import "./inbox.css";

const RISK: Readonly<Record<string, Tone>> = { low: "good", medium: "wait", high: "bad" };
const WHAT: Readonly<Record<string, string>> = { tool: "Tool", plan: "Plan", merge: "Merge", revert: "Take back" };

const list = computed(() => items(store.approvals.all(), store.needs.all(), atServer()));

export default function Inbox({ place }: ScreenProps) {
  const narrow = useMedia("(max-width: 899px)");
  const shown = list.value;
  const ids = shown.map((item) => item.id);
  const asked = place.parts[0] ?? null;
  const decided = place.params["show"] === "decided";
  const id = asked ?? (narrow || decided ? null : (ids[0] ?? null));
  const item = shown.find((one) => one.id === id);

  const choose = (next: string | null) => {
    if (!next) return;
    if (narrow) go(["inbox", next]);
    else swap(["inbox", next]);
  };
  const move = (by: number) => {
    if (decided) return moveAlong(by);
    const next = beside(ids, id, by);
    choose(next);
    if (next) document.getElementById(`item-${next}`)?.focus();
  };
  /** After a decision: the one that takes its place. */
  const after = () => {
    const at = ids.indexOf(id ?? "");
    const next = ids[at + 1] ?? ids[at - 1];
    if (next && !narrow) swap(["inbox", next]);
    else go(["inbox"]);
  };
  useKeys("Inbox", [
    { keys: "j", does: "Next", act: () => move(1) },
    { keys: "k", does: "Previous", act: () => move(-1) },
    { keys: "u", does: "Back to the list", act: () => go(["inbox"], { show: decided ? "decided" : null }) },
  ]);
  useEffect(() => {
    if (narrow && asked) document.querySelector<HTMLElement>(".inbox-pane")?.focus();
  }, [narrow, asked]);

  return (
    <div class={`inbox${narrow ? " narrow" : ""}`}>
      {(!narrow || !asked) && (
        <section class="inbox-list" aria-labelledby="inbox-title">
          <header class="inbox-head">
            <h1 id="inbox-title">Inbox</h1>
            <nav class="chips" aria-label="Which decisions">
              <a class="chip" href={link(["inbox"])} aria-current={decided ? undefined : "true"}>
                Open <span class="faint">{shown.length}</span>
              </a>
              <a class="chip" href={link(["inbox"], { show: "decided" })} aria-current={decided ? "true" : undefined}>
                Decided
              </a>
            </nav>
            <p class="unseen" role="status">
              {plural(shown.length, "decision")} open
            </p>
          </header>
          {decided ? (
            <Decided chosen={id} />
          ) : shown.length === 0 ? (
            <Empty title="Nothing waits for you" next="quarterdeck inbox">
              What agents may not do alone is asked here, and in a terminal:
            </Empty>
          ) : (
            <ol>
              {shown.map((one) => (
                <Line key={one.id} item={one} chosen={one.id === id} />
              ))}
            </ol>
          )}
        </section>
      )}
      {id && (
        <section class="inbox-pane" aria-label="What is asked" tabIndex={-1}>
          {narrow && (
            <>
              <h1 class="unseen">Inbox</h1>
              <a href={link(["inbox"], { show: decided ? "decided" : null })}>← All decisions</a>
            </>
          )}
          {item?.kind === "question" ? (
            <QuestionPane key={id} need={item.need} after={after} />
          ) : (
            <ApprovalPane key={id} id={id} open={item !== undefined} after={after} />
          )}
        </section>
      )}
    </div>
  );
}

const who = (approval: ApprovalRow): string =>
  [approval.agent, approval.attempt ?? approval.run].filter(Boolean).join(" · ");

/** The neighbour in a list that is read on demand: the link itself is followed. */
function moveAlong(by: number): void {
  const links = [...document.querySelectorAll<HTMLAnchorElement>(".inbox-list .inbox-line")];
  const at = links.findIndex((one) => one.getAttribute("aria-current") === "true");
  const next = links[at < 0 ? 0 : Math.min(links.length - 1, Math.max(0, at + by))];
  next?.click();
  next?.focus();
}

function Line({ item, chosen }: { readonly item: Item; readonly chosen: boolean }) {
  const question = item.kind === "question";
  const expires = question ? null : item.approval.expires_at;
  return (
    <li>
      <a
        id={`item-${item.id}`}
        class="inbox-line"
        href={link(["inbox", item.id])}
        aria-current={chosen ? "true" : undefined}
        onClick={(event) => {
          if (chosen || event.ctrlKey || event.metaKey) return;
          event.preventDefault();
          if (matchMedia("(max-width: 899px)").matches) go(["inbox", item.id]);
          else swap(["inbox", item.id]);
        }}
      >
        <span class="inbox-kind">
          <Mark state="open" bare word={question ? "Question" : "Approval"} />
          <span>{question ? "Question" : WHAT[item.approval.what]}</span>
          {!question && <Tag tone={RISK[item.approval.risk] ?? "idle"}>{item.approval.risk} risk</Tag>}
          <span class="faint inbox-age">
            <When at={item.since} />
          </span>
        </span>
        <span class="inbox-title">{question ? item.need.title : item.approval.title}</span>
        <span class="faint inbox-foot">
          {question ? (item.need.attempt ?? item.need.runs[0]) : who(item.approval)}
          {expires !== null && (
            <>
              {" · expires "}
              <When at={expires} />
            </>
          )}
        </span>
      </a>
    </li>
  );
}
