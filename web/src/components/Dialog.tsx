// A question to the person, over everything else.
// Rules: the browser's own dialog keeps the focus inside and gives it back. Escape closes. One question at a time.

import { signal } from "@preact/signals";
import type { ComponentChildren, VNode } from "preact";
import { useLayoutEffect, useRef, useState } from "preact/hooks";
import { Refused } from "../api/client.ts";
import { useKeys } from "../shell/useKeys.ts";
import { Button, type ButtonLook } from "./basics.tsx";

const shown = signal<VNode | null>(null);

export function ask(dialog: VNode): void {
  shown.value = dialog;
}

export function closeDialog(): void {
  shown.value = null;
}

export function Dialogs() {
  return shown.value;
}

export function Dialog(props: {
  readonly title: string;
  readonly wide?: boolean;
  readonly label?: string;
  readonly children: ComponentChildren;
}) {
  const element = useRef<HTMLDialogElement>(null);
  useKeys(props.title, [{ keys: "Escape", does: "Close", act: closeDialog }], true);
  useLayoutEffect(() => {
    const dialog = element.current;
    if (dialog && !dialog.open) dialog.showModal();
    return () => dialog?.close();
  }, []);
  return (
    <dialog
      ref={element}
      class={`dialog${props.wide ? " wide" : ""}`}
      aria-label={props.label ?? props.title}
      onCancel={(event) => {
        event.preventDefault();
        closeDialog();
      }}
      onClick={(event) => event.target === element.current && closeDialog()}
    >
      {props.children}
    </dialog>
  );
}

/** A question with fields. What the server refuses is said inside, and nothing that was typed is lost. */
export function AskForm(props: {
  readonly title: string;
  readonly send: string;
  readonly look?: ButtonLook;
  readonly wide?: boolean;
  readonly ready?: boolean;
  readonly submit: () => Promise<void>;
  readonly children: ComponentChildren;
}) {
  const [sending, setSending] = useState(false);
  const [refused, setRefused] = useState<unknown>(null);
  const submit = async (event: Event) => {
    event.preventDefault();
    if (sending) return;
    setSending(true);
    try {
      await props.submit();
      closeDialog();
    } catch (error) {
      setRefused(error);
    } finally {
      setSending(false);
    }
  };
  return (
    <Dialog title={props.title} wide={props.wide ?? false}>
      <form
        class="dialog"
        onSubmit={submit}
        onKeyDown={(event) => {
          if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) event.currentTarget.requestSubmit();
        }}
      >
        <header>
          <h2>{props.title}</h2>
        </header>
        <div class="body">
          {props.children}
          {refused !== null && <Refusal error={refused} />}
        </div>
        <footer>
          <Button act={closeDialog}>Cancel</Button>
          <Button submit look={props.look ?? "main"} disabled={sending || props.ready === false}>
            {sending ? "Sending…" : props.send}
          </Button>
        </footer>
      </form>
    </Dialog>
  );
}

/** What the server refused, why, and what helps. */
export function Refusal({ error }: { readonly error: unknown }) {
  const problem = error instanceof Refused ? error.problem : null;
  return (
    <div class="refusal" role="alert">
      <p>{problem ? problem.detail || problem.title : String(error)}</p>
      {problem?.fix && <p>{problem.fix}</p>}
    </div>
  );
}
