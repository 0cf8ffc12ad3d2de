// The way in where the server wants a token: on other addresses than this machine's own, or when tokens exist.

import { useState } from "preact/hooks";
import { Button, Command, Field } from "../components/basics.tsx";
import { Refusal } from "../components/Dialog.tsx";
import { enter } from "../store/me.ts";

export function SignIn() {
  const [token, setToken] = useState("");
  const [error, setError] = useState<unknown>(null);
  const [sending, setSending] = useState(false);
  const send = (event: Event) => {
    event.preventDefault();
    setSending(true);
    enter(token.trim()).then(
      () => setSending(false),
      (failed: unknown) => {
        setError(failed);
        setSending(false);
      },
    );
  };
  return (
    <form class="sign-in" onSubmit={send}>
      <h1>This deck asks for a token</h1>
      <Field label="Token">
        <input
          class="input mono"
          type="password"
          autocomplete="current-password"
          autofocus
          value={token}
          onInput={(event) => setToken(event.currentTarget.value)}
        />
      </Field>
      {error !== null && <Refusal error={error} />}
      <div class="buttons">
        <Button submit look="main" disabled={sending || token.trim() === ""}>
          Go on
        </Button>
      </div>
      <p class="quiet">Who looks after the deck makes one in a terminal:</p>
      <Command text="quarterdeck token add NAME --role operator" />
    </form>
  );
}
