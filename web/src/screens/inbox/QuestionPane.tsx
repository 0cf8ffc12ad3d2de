// A question of an agent, and the answer.

import { useRef, useState } from "preact/hooks";
import { asked } from "../../actions/bound.ts";
import { shown } from "../../actions/steer.tsx";
import { useBound } from "../../actions/useBound.ts";
import { part } from "../../api/client.ts";
import type { NeedRow } from "../../api/types.ts";
import { Button, Command, Field, When } from "../../components/basics.tsx";
import { Refusal } from "../../components/Dialog.tsx";
import { say } from "../../components/Toast.tsx";
import { useKeys } from "../../shell/useKeys.ts";
import { RunOf } from "./ApprovalPane.tsx";

export function QuestionPane({ need, after }: { readonly need: NeedRow; readonly after: () => void }) {
  const [text, setText] = useState("");
  const [sending, setSending] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const field = useRef<HTMLTextAreaElement>(null);
  const run = need.runs[0] ?? "";
  const { sendSeen } = useBound(() => asked(run, shown(run), need.attempt, need.detail));
  useKeys("This question", [{ keys: "a", does: "Answer", orders: true, act: () => field.current?.focus() }]);

  const submit = async () => {
    if (sending || text.trim() === "") return;
    setSending(true);
    try {
      await sendSeen(`runs/${part(run)}/answer`, { text: text.trim(), attempt: need.attempt });
      say("The answer is sent");
      after();
    } catch (failed) {
      setError(failed);
    } finally {
      setSending(false);
    }
  };
  return (
    <>
      <RunOf run={run} task={need.task} attempt={need.attempt} />
      <div>
        <h2 class="inbox-question">{need.title}</h2>
        <p class="faint">
          asked <When at={need.since} />
        </p>
      </div>
      {need.detail && !need.title.includes(need.detail) && <p class="inbox-detail">{need.detail}</p>}
      {error !== null && <Refusal error={error} />}
      <form
        class="inbox-decide"
        onSubmit={(event) => {
          event.preventDefault();
          void submit();
        }}
        onKeyDown={(event) => {
          if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) void submit();
          if (event.key === "Escape") field.current?.blur();
        }}
      >
        <Field label="Your answer" hint="Ctrl Enter sends it. The agent goes on with it.">
          <textarea
            ref={field}
            class="input"
            rows={4}
            value={text}
            onInput={(event) => setText(event.currentTarget.value)}
          />
        </Field>
        <div class="buttons">
          <Button orders look="main" submit disabled={sending || text.trim() === ""}>
            Send the answer
          </Button>
        </div>
        {need.next && <Command text={need.next} />}
      </form>
    </>
  );
}
