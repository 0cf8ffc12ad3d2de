// The state of something: a shape, a colour and a word, so that neither colour nor shape alone has to be told apart.

import type { ComponentChildren } from "preact";

export type Tone = "good" | "busy" | "wait" | "bad" | "idle";
export type Shape =
  | "disc"
  | "ring"
  | "half"
  | "check"
  | "cross"
  | "diamond"
  | "pause"
  | "triangle"
  | "slash"
  | "hollow";

interface State {
  readonly shape: Shape;
  readonly tone: Tone;
  readonly word: string;
}

const STATES: Readonly<Record<string, State>> = {
  // Runs.
  created: { shape: "ring", tone: "idle", word: "created" },
  planning: { shape: "half", tone: "busy", word: "planning" },
  running: { shape: "disc", tone: "busy", word: "running" },
  paused: { shape: "pause", tone: "wait", word: "paused" },
  waiting: { shape: "diamond", tone: "wait", word: "waiting" },
  done: { shape: "check", tone: "good", word: "done" },
  partial: { shape: "half", tone: "wait", word: "partial" },
  failed: { shape: "cross", tone: "bad", word: "failed" },
  cancelled: { shape: "slash", tone: "idle", word: "cancelled" },
  // Tasks.
  pending: { shape: "ring", tone: "idle", word: "pending" },
  implementing: { shape: "disc", tone: "busy", word: "implementing" },
  checking: { shape: "half", tone: "busy", word: "checking" },
  reviewing: { shape: "half", tone: "busy", word: "reviewing" },
  gating: { shape: "half", tone: "busy", word: "at the gate" },
  merged: { shape: "check", tone: "good", word: "merged" },
  blocked: { shape: "slash", tone: "idle", word: "blocked" },
  // Agents.
  working: { shape: "disc", tone: "busy", word: "working" },
  silent: { shape: "triangle", tone: "bad", word: "silent" },
  // Needs.
  now: { shape: "triangle", tone: "bad", word: "now" },
  soon: { shape: "diamond", tone: "wait", word: "soon" },
  info: { shape: "hollow", tone: "idle", word: "for information" },
  // The gate.
  green: { shape: "check", tone: "good", word: "green" },
  red: { shape: "cross", tone: "bad", word: "red" },
  queued: { shape: "ring", tone: "idle", word: "queued" },
  conflict: { shape: "cross", tone: "wait", word: "conflict" },
  // Approvals.
  open: { shape: "diamond", tone: "wait", word: "open" },
  approved: { shape: "check", tone: "good", word: "approved" },
  denied: { shape: "cross", tone: "bad", word: "denied" },
  expired: { shape: "slash", tone: "idle", word: "expired" },
};

export function stateOf(name: string): State {
  return STATES[name] ?? { shape: "ring", tone: "idle", word: name };
}

const PATHS: Readonly<Record<Shape, ComponentChildren>> = {
  disc: <circle cx="6" cy="6" r="4.5" fill="currentColor" />,
  ring: <circle cx="6" cy="6" r="4" fill="none" stroke="currentColor" stroke-width="1.6" />,
  half: (
    <>
      <circle cx="6" cy="6" r="4.2" fill="none" stroke="currentColor" stroke-width="1.6" />
      <path d="M6 1.8a4.2 4.2 0 0 1 0 8.4z" fill="currentColor" />
    </>
  ),
  check: <path d="M1.6 6.6 4.8 9.6 10.4 2.8" fill="none" stroke="currentColor" stroke-width="2" />,
  cross: <path d="m2.2 2.2 7.6 7.6m0-7.6-7.6 7.6" fill="none" stroke="currentColor" stroke-width="2" />,
  diamond: <path d="m6 .6 5.4 5.4L6 11.4.6 6z" fill="currentColor" />,
  pause: <path d="M2.5 1.5h2.4v9H2.5zm4.6 0h2.4v9H7.1z" fill="currentColor" />,
  triangle: <path d="M6 .8 11.6 11H.4z" fill="currentColor" />,
  slash: (
    <path
      d="M6 1.8a4.2 4.2 0 1 0 0 8.4 4.2 4.2 0 0 0 0-8.4zM3 9 9 3"
      fill="none"
      stroke="currentColor"
      stroke-width="1.5"
    />
  ),
  hollow: <path d="M2 2h8v8H2z" fill="none" stroke="currentColor" stroke-width="1.6" />,
};

export function Glyph({ shape }: { readonly shape: Shape }) {
  return (
    <svg viewBox="0 0 12 12" aria-hidden="true" focusable="false">
      {PATHS[shape]}
    </svg>
  );
}

/** `word` replaces the state's own; `bare` keeps the word for screen readers alone. */
export function Mark(props: { readonly state: string; readonly word?: string; readonly bare?: boolean }) {
  const { shape, tone, word } = stateOf(props.state);
  return (
    <span class={`mark plain tone-${tone}`} title={props.bare ? (props.word ?? word) : undefined}>
      <Glyph shape={shape} />
      <span class={props.bare ? "unseen" : undefined}>{props.word ?? word}</span>
    </span>
  );
}
