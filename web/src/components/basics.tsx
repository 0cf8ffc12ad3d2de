// The small parts that every screen is made of.

import { computed } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useMemo, useState } from "preact/hooks";
import { now } from "../store/clock.ts";
import { mayOrder, me } from "../store/role.ts";
import type { Tone } from "./Mark.tsx";
import { absolute, duration, money, relative } from "./words.ts";

/** A moment: how long ago, and which moment it was when pointed at. `for`: how long it has lasted. */
export function When({ at, as, word }: { readonly at: number; readonly as?: "for"; readonly word?: string }) {
  // The clock changes the text and nothing else, and only where it reads otherwise than a second before.
  const ago = useMemo(
    () => computed(() => (as === "for" ? `for ${duration(now.value - at)}` : relative(at, now.value))),
    [at, as],
  );
  const told = useMemo(() => ({ title: absolute(at), dateTime: new Date(at * 1000).toISOString() }), [at]);
  return (
    <time {...told}>
      {word ? `${word} ` : ""}
      {ago}
    </time>
  );
}

/** USD; the whole number when pointed at. `null` is no sum at all. */
export function Money({ usd }: { readonly usd: number | null }) {
  if (usd === null) return <span class="faint">no cap</span>;
  return <span title={`$${usd}`}>{money(usd)}</span>;
}

/** How full something is. `label` is what a screen reader says; the value stands beside it as text. */
export function Meter(props: {
  readonly value: number;
  readonly max: number;
  readonly label: string;
  readonly tone?: Tone | undefined;
}) {
  const share = props.max > 0 ? Math.min(1, Math.max(0, props.value / props.max)) : 0;
  return (
    <span
      class={`meter${props.tone ? ` tone-${props.tone}` : ""}`}
      role="meter"
      aria-label={props.label}
      aria-valuemin={0}
      aria-valuemax={100}
      aria-valuenow={Math.round(share * 100)}
    >
      <span style={{ transform: `scaleX(${share.toFixed(3)})` }} />
    </span>
  );
}

export function Tag(props: { readonly tone?: Tone; readonly title?: string; readonly children: ComponentChildren }) {
  return (
    <span class={`tag${props.tone ? ` tone-${props.tone}` : ""}`} title={props.title}>
      {props.children}
    </span>
  );
}

export type ButtonLook = "main" | "danger" | "bare";

/** `keys` is shown and has to be bound by whoever shows the button. */
export function Button(props: {
  readonly act?: () => void;
  readonly look?: ButtonLook | undefined;
  readonly little?: boolean | undefined;
  readonly keys?: string | undefined;
  readonly disabled?: boolean | undefined;
  readonly submit?: boolean | undefined;
  /** It changes something: who may only look cannot press it. */
  readonly orders?: boolean | undefined;
  readonly label?: string | undefined;
  /** Whether what it opens is open. */
  readonly expanded?: boolean | undefined;
  readonly children: ComponentChildren;
}) {
  const look = [props.look, props.little ? "little" : ""].filter(Boolean).join(" ");
  return (
    <button
      type={props.submit ? "submit" : "button"}
      class={`button ${look}`}
      disabled={props.disabled || (props.orders && !mayOrder(me.value))}
      title={props.orders && !mayOrder(me.value) ? "You may only look" : undefined}
      aria-label={props.label}
      aria-expanded={props.expanded}
      aria-keyshortcuts={props.keys}
      onClick={props.act}
    >
      {props.children}
      {props.keys && <kbd aria-hidden="true">{props.keys}</kbd>}
    </button>
  );
}

/** A command to type, and a button that copies it. */
export function Command({ text }: { readonly text: string }) {
  const [copied, setCopied] = useState(false);
  const copy = () => {
    navigator.clipboard?.writeText(text).then(
      () => {
        setCopied(true);
        setTimeout(() => setCopied(false), 1500);
      },
      () => setCopied(false),
    );
  };
  return (
    <span class="command">
      <code>{text}</code>
      {/* Only pages that came over TLS or from this machine may write the clipboard. */}
      {isSecureContext && (
        <button type="button" onClick={copy} aria-label={`Copy the command ${text}`}>
          {copied ? "Copied" : "Copy"}
        </button>
      )}
    </span>
  );
}

/** Nothing to show: why, and what to do next. */
export function Empty(props: {
  readonly title: string;
  readonly next?: string;
  readonly children?: ComponentChildren;
}) {
  return (
    <div class="empty">
      <h2>{props.title}</h2>
      {props.children && <p>{props.children}</p>}
      {props.next && <Command text={props.next} />}
    </div>
  );
}

export function Field(props: { readonly label: string; readonly hint?: string; readonly children: ComponentChildren }) {
  return (
    <label class="field">
      <span>{props.label}</span>
      {props.children}
      {props.hint && <small>{props.hint}</small>}
    </label>
  );
}
