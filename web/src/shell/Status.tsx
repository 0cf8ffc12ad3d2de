// How the deck is, in one line, and whether this page still hears from it.

import type { ComponentChildren } from "preact";
import { Button, Meter, Money } from "../components/basics.tsx";
import { Glyph } from "../components/Mark.tsx";
import { duration, percent, plural, whole } from "../components/words.ts";
import { exists } from "../screens/registry.ts";
import { now } from "../store/clock.ts";
import { store, stream } from "../store/live.ts";
import { me } from "../store/role.ts";
import { link } from "./router.ts";

function Readout(props: {
  readonly label: string;
  readonly title?: string;
  readonly to?: string;
  readonly children: ComponentChildren;
}) {
  const label = props.to && exists(props.to) ? <a href={link([props.to])}>{props.label}</a> : props.label;
  return (
    <div class="readout" title={props.title}>
      <dt>{label}</dt>
      <dd>{props.children}</dd>
    </div>
  );
}

export function Readouts() {
  const deck = store.deck.value;
  if (!deck) return null;
  const { today_usd: today, today_cap_usd: cap, unreviewed } = deck;
  const share = cap ? today / cap : 0;
  return (
    <dl class="readouts">
      <Readout label="Agents" to="fleet">
        {whole(deck.agents)}
      </Readout>
      <Readout label="Spent today" to="cost">
        <Money usd={today} />
        {cap !== null && (
          <>
            <span class="faint"> of </span>
            <Money usd={cap} />
            <Meter
              value={today}
              max={cap}
              label={`Spent of today's cap: ${percent(today, cap)}`}
              tone={share >= 0.9 ? "bad" : share >= 0.7 ? "wait" : undefined}
            />
          </>
        )}
      </Readout>
      <Readout label="Burn" to="cost">
        <Money usd={deck.burn_usd_h} />
        <span class="faint"> / h</span>
      </Readout>
      <Readout
        label="Inbox"
        to="inbox"
        title={deck.slowed ? "The inbox is over its limit: new work starts more slowly." : ""}
      >
        {deck.inbox_open}
        {deck.inbox_limit !== null && <span class="faint"> of {deck.inbox_limit}</span>}
        {deck.slowed && <span class="tone-wait"> slowed</span>}
      </Readout>
      <Readout
        label="Landed unreviewed"
        to="integrate"
        title={`${unreviewed.merged} of ${plural(unreviewed.total, "change")}`}
      >
        {unreviewed.total > 0 ? percent(unreviewed.merged, unreviewed.total) : <span class="faint">none landed</span>}
      </Readout>
    </dl>
  );
}

/** Whether what is shown is live. */
export function LinkState() {
  const known = store.link.value;
  if (known.state === "live") {
    return (
      <p class="link-state">
        <span class="mark tone-good">
          <Glyph shape="disc" />
        </span>
        Live
        {me.value?.role === "viewer" && <span class="faint">· {me.value.name} may only look</span>}
      </p>
    );
  }
  return (
    <p class="link-state">
      <span class="mark tone-wait">
        <Glyph shape={known.state === "lost" ? "triangle" : "half"} />
      </span>
      {known.state === "lost" ? "Not live" : "Connecting"}
    </p>
  );
}

/** What keeps the deck from working, or this page from showing it. */
export function Trouble() {
  const known = store.link.value;
  const deck = store.deck.value;
  if (known.state === "lost" && deck) {
    return (
      <div class="trouble tone-wait" role="status">
        <Glyph shape="triangle" />
        <p>
          <strong>Not live.</strong>{" "}
          {known.status === 401 ? (
            "This browser is no longer let in: load the page again."
          ) : (
            <>
              What you see is <Age since={store.heardAt.value} /> old: {known.why}.
            </>
          )}
        </p>
        <Button little act={() => stream.retry()}>
          Try now
        </Button>
      </div>
    );
  }
  if (deck && store.outdated.value) {
    return (
      <div class="trouble tone-wait" role="status">
        <Glyph shape="triangle" />
        <p>
          <strong>This page is of another version.</strong> Quarterdeck {deck.version} serves it now.
        </p>
        <Button little act={() => location.reload()}>
          Load it again
        </Button>
      </div>
    );
  }
  if (deck?.trouble) {
    return (
      <div class="trouble tone-bad" role="status">
        <Glyph shape="triangle" />
        <p>
          <strong>The deck does not work.</strong> {deck.trouble}
        </p>
      </div>
    );
  }
  return null;
}

function Age({ since }: { readonly since: number }) {
  return <>{duration(now.value - since)}</>;
}
