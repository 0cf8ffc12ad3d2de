// The thread of an attempt: what the agent was told, said and did, in its order.
// Rules: it is read by pages, a few hundred entries at a time. Standing at the end, it follows what comes; standing
// elsewhere, it says how much came and moves nothing. Everything is text. Long text shows its beginning.

import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { get, part } from "../../api/client.ts";
import type { Thread as Answer, FirstBad, ThreadEntry } from "../../api/types.ts";
import { Button, Empty, Money, Tag } from "../../components/basics.tsx";
import { Refusal } from "../../components/Dialog.tsx";
import { Glyph } from "../../components/Mark.tsx";
import { count, duration } from "../../components/words.ts";
import { Fill } from "./Fill.tsx";
import { extended, fill, folded, gist, id, NOTHING, preceded, type Stretch, steps, told } from "./thread.ts";

const PAGE = 100;
/** Less than this from the end, in pixels, is the end. */
const END = 48;
/** How much is shown before the entry that was asked for. */
const BEFORE = 4;

export interface ThreadProps {
  readonly attempt: string;
  /** How long its stream is: grows while it is followed. */
  readonly length: number;
  readonly live: boolean;
  readonly window: number;
  readonly firstBad: FirstBad | null;
  /** The entry to begin at; null = the end where work goes on, else the beginning. */
  readonly seq: number | null;
}

export function Thread(props: ThreadProps) {
  const box = useRef<HTMLDivElement>(null);
  const thread = useThread(props, box);
  const { stretch } = thread;
  const bad = props.firstBad?.attempt === props.attempt ? props.firstBad : null;
  if (thread.error !== null && stretch.entries.length === 0) return <Refusal error={thread.error} />;
  if (stretch.entries.length === 0) {
    return thread.reading ? (
      <p class="quiet pane-note">Reading the thread…</p>
    ) : (
      <Empty title="Nothing said yet">What the agent is told, says and does appears here.</Empty>
    );
  }
  return (
    <div class="thread-frame">
      <Fill points={fill(stretch.entries)} window={props.window} jump={thread.jump} />
      <div ref={box} class="thread" tabIndex={0} role="group" aria-label="Thread" onScroll={thread.scrolled}>
        {stretch.before !== null && (
          <p class="thread-more">
            <Button little act={thread.earlier} disabled={thread.reading}>
              Show earlier
            </Button>
          </p>
        )}
        <ol>
          {steps(stretch.entries).map((step) => (
            <li key={`${step.step} ${step.entries[0]?.seq}`} class="step">
              <StepHead step={step.step} entries={step.entries} />
              {step.entries.filter(hasWords).map((entry) => (
                <Entry key={id(entry)} entry={entry} bad={bad?.seq === entry.seq ? bad : null} />
              ))}
            </li>
          ))}
        </ol>
        {stretch.after !== null ? (
          <p class="thread-more">
            <Button little act={thread.later} disabled={thread.reading}>
              Show later
            </Button>
          </p>
        ) : (
          props.live && <p class="thread-live quiet">{thread.follows ? "Follows what comes" : "Work goes on"}</p>
        )}
      </div>
      {props.live && !thread.follows && (
        <div class="thread-end">
          <Button act={thread.toEnd}>{thread.unseen > 0 ? `${thread.unseen} new ↓` : "To the end ↓"}</Button>
        </div>
      )}
    </div>
  );
}

/** An answer that is nothing but calls has no words of its own. */
const hasWords = (entry: ThreadEntry): boolean => entry.kind !== "said" || entry.text.trim() !== "";

/** Where the entries come from and where they are looked at. */
function useThread(props: ThreadProps, box: { readonly current: HTMLDivElement | null }) {
  const [stretch, setStretch] = useState<Stretch>(NOTHING);
  const [reading, setReading] = useState(true);
  const [error, setError] = useState<unknown>(null);
  const [follows, setFollows] = useState(false);
  const [unseen, setUnseen] = useState(0);
  const known = useRef(stretch);
  known.current = stretch;
  const busy = useRef<AbortController | null>(null);
  /** What the next drawing has to hold still, or to move to. */
  const hold = useRef<{ readonly fromEnd: number } | { readonly seq: number } | "end" | null>(null);

  const read = (params: Record<string, number>, take: (page: Answer) => void) => {
    busy.current?.abort();
    const request = new AbortController();
    busy.current = request;
    setReading(true);
    get<Answer>(`attempts/${part(props.attempt)}/thread`, { limit: PAGE, ...params }, request.signal).then(
      (page) => {
        if (request.signal.aborted) return;
        busy.current = null;
        setReading(false);
        setError(null);
        take(page);
      },
      (failed: unknown) => {
        if (request.signal.aborted) return;
        busy.current = null;
        setReading(false);
        setError(failed);
      },
    );
  };
  const jump = (seq: number) => {
    hold.current = { seq };
    if (known.current.entries.some((entry) => entry.seq >= seq) && (known.current.entries[0]?.seq ?? 0) <= seq) {
      setStretch((same) => ({ ...same }));
    } else {
      read({ after: Math.max(0, seq - BEFORE) }, (page) => setStretch(extended(NOTHING, page)));
    }
  };
  const toEnd = () => {
    hold.current = "end";
    setUnseen(0);
    setFollows(true);
    if (known.current.entries.length > 0 && known.current.after === null) setStretch((same) => ({ ...same }));
    else read({ before: LAST }, (page) => setStretch(extended(NOTHING, page)));
  };
  const earlier = () => {
    const { before } = known.current;
    if (before === null || busy.current) return;
    const element = box.current;
    if (element) hold.current = { fromEnd: element.scrollHeight - element.scrollTop };
    read({ before }, (page) => setStretch((last) => preceded(last, page)));
  };
  const later = () => {
    const last = known.current.entries[known.current.entries.length - 1];
    const after = known.current.after ?? last?.seq;
    if (after === undefined || busy.current) return;
    read({ after }, (page) => setStretch((before) => extended(before, page)));
  };

  useEffect(() => {
    if (props.seq !== null) jump(props.seq);
    else if (props.live) toEnd();
    else read({ after: 0 }, (page) => setStretch(extended(NOTHING, page)));
    return () => busy.current?.abort();
  }, [props.seq]);

  // Its stream has grown: whoever has read to its end reads on.
  const asked = useRef(props.length);
  useEffect(() => {
    const last = known.current.entries[known.current.entries.length - 1];
    if (reading || known.current.after !== null || asked.current >= props.length) return;
    asked.current = props.length;
    read({ after: last?.seq ?? 0 }, (page) => {
      if (page.entries.length === 0) return;
      if (follows) hold.current = "end";
      else setUnseen((before) => before + page.entries.length);
      setStretch((before) => extended(before, page));
    });
  }, [props.length, reading]);

  useLayoutEffect(() => {
    const element = box.current;
    const wanted = hold.current;
    if (!element || wanted === null || stretch.entries.length === 0) return;
    hold.current = null;
    if (wanted === "end") element.scrollTop = element.scrollHeight;
    else if ("fromEnd" in wanted) element.scrollTop = element.scrollHeight - wanted.fromEnd;
    else show(element, wanted.seq);
  }, [stretch]);

  const scrolled = () => {
    const element = box.current;
    if (!element) return;
    const end = element.scrollHeight - element.scrollTop - element.clientHeight < END && known.current.after === null;
    if (end !== follows) setFollows(end);
    if (end && unseen > 0) setUnseen(0);
  };
  return { stretch, reading, error, follows, unseen, jump, toEnd, earlier, later, scrolled };
}

/** Larger than any number in a stream: the last page is what comes before it. */
const LAST = 2 ** 52;

function show(element: HTMLElement, seq: number): void {
  const wanted = element.querySelector<HTMLElement>(`[data-seq="${seq}"]`) ?? nearest(element, seq);
  if (!wanted) return;
  element.scrollTop += wanted.getBoundingClientRect().top - element.getBoundingClientRect().top - 56;
  wanted.focus({ preventScroll: true });
}

function nearest(element: HTMLElement, seq: number): HTMLElement | null {
  const all = [...element.querySelectorAll<HTMLElement>("[data-seq]")];
  return all.find((each) => Number(each.dataset["seq"]) >= seq) ?? null;
}

function StepHead({ step, entries }: { readonly step: number; readonly entries: readonly ThreadEntry[] }) {
  const call = entries.find((entry) => entry.tokens !== null);
  if (step === 0 && !call) return null;
  return (
    <h3 class="step-head">
      <span>{step === 0 ? "Beginning" : `Step ${step}`}</span>
      {call?.tokens && (
        <span class="faint">
          {call.model && `${call.model} · `}
          <span title="Tokens in, of these from the cache">
            {count(call.tokens.input + call.tokens.cache_read + call.tokens.cache_write)} in
            {call.tokens.cache_read > 0 && ` (${count(call.tokens.cache_read)} cached)`}
          </span>
          {" · "}
          {count(call.tokens.output)} out · <Money usd={call.cost_usd} />
          {call.seconds > 0 && ` · ${seconds(call.seconds)}`}
        </span>
      )}
    </h3>
  );
}

const WHO: Readonly<Record<ThreadEntry["kind"], string>> = {
  prompt: "Prompt",
  said: "Agent",
  thought: "Thought",
  call: "Call",
  result: "Result",
  note: "Deck",
  human: "A person",
  event: "Event",
};

function Entry({ entry, bad }: { readonly entry: ThreadEntry; readonly bad: FirstBad | null }) {
  const failed = entry.ok === false;
  return (
    <article
      data-seq={entry.seq}
      class={["entry", entry.kind, failed ? "failed" : "", bad ? "bad" : ""].join(" ")}
      tabIndex={-1}
      aria-label={`${WHO[entry.kind]}${entry.tool ? ` ${entry.tool}` : ""}${failed ? ", failed" : ""}`}
    >
      {bad && (
        <p class="entry-bad">
          <Glyph shape="triangle" />
          <strong>First bad step</strong> {bad.what}: {bad.why}
        </p>
      )}
      {entry.kind === "call" ? <Call entry={entry} /> : <Said entry={entry} />}
    </article>
  );
}

function Call({ entry }: { readonly entry: ThreadEntry }) {
  const line = gist(entry.arguments);
  const args = told(entry.arguments);
  const simple = args.length === 0 || (args.length === 1 && args[0]?.value === line);
  const head = (
    <>
      <span class="entry-tool mono">{entry.tool}</span> <span class="mono cut entry-gist">{line}</span>
      <Facts entry={entry} />
    </>
  );
  if (simple) return <div class="entry-call">{head}</div>;
  return (
    <details class="entry-call" open={entry.decision === "ask" || entry.decision === "deny"}>
      <summary>{head}</summary>
      <dl class="arguments">
        {args.map(({ name, value }) => (
          <div key={name}>
            <dt class="faint">{name || "arguments"}</dt>
            <dd>
              <Long text={value} code />
            </dd>
          </div>
        ))}
      </dl>
      {entry.cut && <p class="faint">The arguments are longer than what is shown.</p>}
    </details>
  );
}

/** An event of so many characters needs no head of its own. */
const LINE = 240;

function Said({ entry }: { readonly entry: ThreadEntry }) {
  const code = entry.kind === "result" || entry.kind === "prompt";
  const body = <Long text={entry.text} code={code} cut={entry.cut} />;
  if (entry.kind === "thought") {
    return (
      <details class="entry-thought">
        <summary class="faint">Thought</summary>
        {body}
      </details>
    );
  }
  if (entry.kind === "event" && entry.text.length <= LINE) {
    return (
      <p class="entry-line">
        <span>{entry.text}</span>
        <Facts entry={entry} />
      </p>
    );
  }
  return (
    <>
      {entry.kind !== "said" && (
        <p class="entry-who faint">
          {WHO[entry.kind]}
          {entry.kind === "result" && entry.tool ? ` of ${entry.tool}` : ""}
          <Facts entry={entry} />
        </p>
      )}
      {entry.text !== "" ? body : entry.kind === "result" ? <p class="faint">No output</p> : null}
    </>
  );
}

function Facts({ entry }: { readonly entry: ThreadEntry }) {
  return (
    <span class="entry-facts">
      {entry.ok === false && <Tag tone="bad">failed</Tag>}
      {entry.decision && entry.decision !== "allow" && (
        <Tag tone={entry.decision === "deny" ? "bad" : "wait"} title={entry.rules.join(", ")}>
          {entry.decision === "deny" ? "denied" : "asked a person"}
        </Tag>
      )}
      {entry.flags.map((flag) => (
        <Tag key={flag}>{flag}</Tag>
      ))}
      {entry.kind !== "said" && entry.seconds > 0 && <span class="faint">{seconds(entry.seconds)}</span>}
    </span>
  );
}

const seconds = (value: number): string => (value < 10 ? `${value.toFixed(value < 1 ? 2 : 1)} s` : duration(value));

/** Text that shows its beginning, and all of it when asked. */
function Long(props: { readonly text: string; readonly code?: boolean; readonly cut?: boolean }) {
  const [open, setOpen] = useState(false);
  const { shown, more } = folded(props.text);
  return (
    <div class={props.code ? "long code" : "long"}>
      <pre>{open ? props.text : shown}</pre>
      {more !== "" && (
        <button type="button" class="more" aria-expanded={open} onClick={() => setOpen(!open)}>
          {open ? "Show less" : `Show ${more}`}
        </button>
      )}
      {props.cut && (open || more === "") && <p class="faint">Longer than what is shown here.</p>}
    </div>
  );
}
