// Say something about a change: the agent gets it as feedback, with the place.

import { useState } from "preact/hooks";
import { part, post } from "../api/client.ts";
import { Field } from "../components/basics.tsx";
import { AskForm, ask } from "../components/Dialog.tsx";
import { say } from "../components/Toast.tsx";

export function comment(attempt: string, path: string, line: number | null): void {
  ask(<Comment attempt={attempt} path={path} line={line} />);
}

function Comment(props: { readonly attempt: string; readonly path: string; readonly line: number | null }) {
  const [text, setText] = useState("");
  const where = props.line === null ? props.path : `${props.path}:${props.line}`;
  return (
    <AskForm
      title="Comment on the change"
      send="Send"
      ready={text.trim() !== ""}
      submit={async () => {
        const { path, line } = props;
        await post(`attempts/${part(props.attempt)}/comments`, { path, line, text: text.trim() });
        say(`The comment on ${where} is on record; the agent gets it`);
      }}
    >
      <p class="mono quiet">{where}</p>
      <Field label="Comment" hint="The agent reads it as feedback on its change">
        <textarea
          class="input"
          rows={4}
          autofocus
          value={text}
          onInput={(event) => setText(event.currentTarget.value)}
        />
      </Field>
    </AskForm>
  );
}
