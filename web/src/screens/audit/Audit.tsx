// Audit: the journal itself. Search it, look at one event as it is on record, and see whether anybody has changed it.
// Rules: what is searched stands in the address. An event is shown whole, as text. Newer events do not push what is
// being read away: they are announced, and shown when asked.

import { useEffect, useRef, useState } from "preact/hooks";
import { get } from "../../api/client.ts";
import type { EventRow, Found } from "../../api/types.ts";
import { Button, Empty, Field } from "../../components/basics.tsx";
import { Refusal } from "../../components/Dialog.tsx";
import { Fact, Facts } from "../../components/Facts.tsx";
import { beside } from "../../components/rows.ts";
import { Virtual } from "../../components/Virtual.tsx";
import { absolute, count, plural } from "../../components/words.ts";
import { link, swap } from "../../shell/router.ts";
import { useKeys } from "../../shell/useKeys.ts";
import { exists, type ScreenProps } from "../registry.ts";
import { Chain } from "./Chain.tsx";
import { attemptOf, gist, joined, runOf, type Wanted, wanted } from "./search.ts";
import "./audit.css";

const PAGE = 100;
const ROW = 34;
/** So many rows before the end, the next page is read. */
const AHEAD = 30;
const TYPING_MS = 350;

export default function Audit({ place }: ScreenProps) {
  const asked = wanted(place.params);
  const field = useRef<HTMLInputElement>(null);
  const found = useEvents(asked);
  const [chosen, setChosen] = useState<string | null>(null);
  const ids = found.events.map((event) => String(event.id));
  const event = found.events.find((one) => String(one.id) === chosen) ?? null;
  const search = (next: Partial<Wanted>) => swap(["audit"], { ...asked, ...next });
  const choose = (id: string) => {
    setChosen(id);
    if (ids.length - ids.indexOf(id) < AHEAD) found.ahead();
  };
  const move = (by: number) => {
    const next = beside(ids, chosen, by);
    if (next) choose(next);
  };
  useKeys("Audit", [
    { keys: "j", does: "Older event", act: () => move(1) },
    { keys: "k", does: "Newer event", act: () => move(-1) },
    { keys: "ArrowDown", does: "Older event", act: () => move(1) },
    { keys: "ArrowUp", does: "Newer event", act: () => move(-1) },
    { keys: "/", does: "Search", act: () => field.current?.focus() },
    { keys: "u", does: "Newest events", act: found.again },
    {
      keys: "Escape",
      does: "Close the event",
      act: () => {
        field.current?.blur();
        setChosen(null);
      },
    },
  ]);
  const empty = found.events.length === 0;
  return (
    <div class="screen audit">
      <header>
        <h1>Audit</h1>
        <p class="quiet" role="status">
          {found.reading ? "Searching…" : empty ? "" : `${plural(found.events.length, "event")}, the newest first`}
        </p>
        <Button little act={found.again} keys="u">
          Newest
        </Button>
      </header>
      <Chain />
      <Search asked={asked} search={search} field={field} />
      {found.error !== null && <Refusal error={found.error} />}
      {empty ? (
        !found.reading && found.error === null && <Nothing asked={asked} found={found} />
      ) : (
        <div class={event ? "audit-found with-event" : "audit-found"}>
          <Virtual
            ids={ids}
            height={ROW}
            label={plural(found.events.length, "event")}
            chosen={chosen}
            choose={choose}
            class="panel audit-rows"
            atEnd={found.ahead}
            row={(id) => <Row event={found.events.find((one) => String(one.id) === id)} />}
          />
          {event && <One event={event} close={() => setChosen(null)} search={search} />}
        </div>
      )}
      {!empty && found.before !== null && (
        <p class="audit-more faint">
          {found.paging ? (
            "Reading on…"
          ) : (
            <Button little act={found.more}>
              Read on
            </Button>
          )}{" "}
          {count(found.looked)} events looked at
        </p>
      )}
    </div>
  );
}

function Nothing({ asked, found }: { readonly asked: Wanted; readonly found: ReturnType<typeof useEvents> }) {
  const bare = !asked.stream && !asked.kind && !asked.q;
  if (bare) {
    return (
      <div class="panel">
        <Empty title="The journal is empty" next={'quarterdeck run "what should be true afterwards"'}>
          Everything that happens from the first run on is on record here.
        </Empty>
      </div>
    );
  }
  return (
    <div class="panel">
      <Empty title="No event is like that" next="quarterdeck logs ID">
        {count(found.looked)} events were looked at.
      </Empty>
      {found.before !== null && (
        <p class="audit-more">
          <Button act={found.more}>Look further back</Button>
        </p>
      )}
    </div>
  );
}

function Search(props: {
  readonly asked: Wanted;
  readonly search: (next: Partial<Wanted>) => void;
  readonly field: { current: HTMLInputElement | null };
}) {
  const { asked, search } = props;
  return (
    <search class="audit-search">
      <Field label="Text">
        <Typed reference={props.field} value={asked.q} change={(q) => search({ q })} hint="As it stands in the event" />
      </Field>
      <Field label="Kind">
        <Typed value={asked.kind} change={(kind) => search({ kind })} hint="tool.done, approval" mono />
      </Field>
      <Field label="Stream">
        <Typed
          value={asked.stream}
          change={(stream) => search({ stream })}
          hint="run/r-…, attempt/…, gate/…, deck"
          mono
        />
      </Field>
    </search>
  );
}

/** A field that searches a moment after the last key. */
function Typed(props: {
  readonly value: string;
  readonly change: (value: string) => void;
  readonly hint: string;
  readonly mono?: boolean;
  readonly reference?: { current: HTMLInputElement | null };
}) {
  const [typed, setTyped] = useState(props.value);
  useEffect(() => setTyped(props.value), [props.value]);
  useEffect(() => {
    if (typed === props.value) return;
    const timer = setTimeout(() => props.change(typed.trim()), TYPING_MS);
    return () => clearTimeout(timer);
  }, [typed]);
  return (
    <input
      ref={props.reference ?? null}
      class={props.mono ? "input mono" : "input"}
      type="search"
      placeholder={props.hint}
      value={typed}
      onInput={(event) => setTyped(event.currentTarget.value)}
      onKeyDown={(event) => {
        if (event.key === "Enter") props.change(typed.trim());
      }}
    />
  );
}

function Row({ event }: { readonly event: EventRow | undefined }) {
  if (!event) return null;
  return (
    <>
      <span role="cell" class="audit-at faint" title={absolute(event.at)}>
        {clock(event.at)}
      </span>
      <span role="cell" class="audit-kind mono cut">
        {event.kind}
      </span>
      <span role="cell" class="audit-stream mono faint" title={`${event.stream} ${event.seq}`}>
        <span class="cut">{event.stream}</span> <span class="audit-seq">{event.seq}</span>
      </span>
      <span role="cell" class="audit-gist cut quiet">
        {gist(event.body)}
      </span>
    </>
  );
}

/** Day and time, since the journal goes back further than "12 s ago" says anything. */
function clock(at: number): string {
  const date = new Date(at * 1000);
  const two = (n: number) => String(n).padStart(2, "0");
  const time = `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
  return `${two(date.getMonth() + 1)}-${two(date.getDate())} ${time}`;
}

function One(props: {
  readonly event: EventRow;
  readonly close: () => void;
  readonly search: (next: Partial<Wanted>) => void;
}) {
  const { event } = props;
  const run = runOf(event.stream);
  const attempt = attemptOf(event.stream);
  return (
    <aside class="panel audit-one" aria-label={`Event ${event.id}`}>
      <header>
        <h2 class="mono">{event.kind}</h2>
        <Button look="bare" little act={props.close} keys="Esc">
          Close
        </Button>
      </header>
      <div class="audit-body">
        <Facts>
          <Fact name="When">{absolute(event.at)}</Fact>
          <Fact name="Place in the journal">{event.id}</Fact>
          <Fact name="Stream">
            <span class="mono">{event.stream}</span>, record {event.seq}
          </Fact>
          <Fact name="Epoch">{event.epoch}</Fact>
        </Facts>
        <p class="audit-hash">
          <span class="faint">Hash, with the one before it inside</span>
          <code>{event.hash}</code>
        </p>
        <div class="buttons">
          <Button little act={() => props.search({ stream: event.stream })}>
            Only this stream
          </Button>
          <Button little act={() => props.search({ kind: event.kind })}>
            Only this kind
          </Button>
          {run && exists("run") && (
            <a class="button little" href={link(["run", run], attempt ? { attempt, seq: String(event.seq) } : {})}>
              {attempt ? "Open in the thread" : "Open the run"}
            </a>
          )}
        </div>
        <pre class="code" tabIndex={0} aria-label="The event as it is on record">
          {JSON.stringify(event.body, null, 2)}
        </pre>
      </div>
    </aside>
  );
}

/** The events that are asked for, page by page. */
function useEvents(asked: Wanted) {
  const [state, setState] = useState<{
    readonly events: readonly EventRow[];
    readonly before: number | null;
    readonly looked: number;
    readonly reading: boolean;
    readonly paging: boolean;
    /** The last page brought something: the next one is worth reading unasked. */
    readonly fruitful: boolean;
    readonly error: unknown;
  }>({ events: [], before: null, looked: 0, reading: true, paging: false, fruitful: true, error: null });
  const [times, setTimes] = useState(0);
  const request = useRef<AbortController | null>(null);

  const read = (before: number | null) => {
    request.current?.abort();
    const reading = new AbortController();
    request.current = reading;
    const first = before === null;
    setState((known) => ({ ...known, reading: first, paging: !first, error: null }));
    get<Found>("events", { ...asked, before, limit: PAGE }, reading.signal).then(
      (page) => {
        if (reading.signal.aborted) return;
        request.current = null;
        setState((known) => ({
          events: first ? page.events : joined(known.events, page.events),
          before: page.before,
          looked: page.looked + (first ? 0 : known.looked),
          reading: false,
          paging: false,
          fruitful: page.events.length > 0,
          error: null,
        }));
      },
      (error: unknown) => {
        if (reading.signal.aborted) return;
        request.current = null;
        setState((known) => ({ ...known, reading: false, paging: false, error }));
      },
    );
  };
  useEffect(() => {
    read(null);
    return () => request.current?.abort();
  }, [asked.stream, asked.kind, asked.q, times]);
  const more = () => {
    if (state.before !== null && !request.current) read(state.before);
  };
  const ahead = () => {
    if (state.fruitful) more();
  };
  return { ...state, more, ahead, again: () => setTimes(times + 1) };
}
