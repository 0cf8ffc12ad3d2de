// Whether the journal is what was written: what is known, and a check of every chain when asked.

import { useState } from "preact/hooks";
import { get, post } from "../../api/client.ts";
import type { ChainStatus, Verified } from "../../api/types.ts";
import { Button, When } from "../../components/basics.tsx";
import { Refusal } from "../../components/Dialog.tsx";
import { Glyph } from "../../components/Mark.tsx";
import { useAnswer } from "../../components/useAnswer.ts";
import { plural, whole } from "../../components/words.ts";

export function Chain() {
  const { value, error } = useAnswer((signal) => get<ChainStatus>("audit", {}, signal), 0);
  const [verified, setVerified] = useState<Verified | null>(null);
  const [busy, setBusy] = useState(false);
  const [refused, setRefused] = useState<unknown>(null);
  const verify = () => {
    setBusy(true);
    setRefused(null);
    post<Verified>("audit/verify").then(
      (found) => {
        setVerified(found);
        setBusy(false);
      },
      (failed: unknown) => {
        setRefused(failed);
        setBusy(false);
      },
    );
  };
  return (
    <section class="panel chain" aria-label="Chains">
      <div class="chain-line">
        <p class="chain-status">
          {value ? (
            <>
              {plural(value.events, "event")} in {plural(value.streams, "chain")}.{" "}
              {value.anchored_at === null ? (
                <span class="quiet">Their heads were not written down yet.</span>
              ) : (
                <span class="quiet">
                  Heads of {whole(value.anchored_streams)} written down <When at={value.anchored_at} />;{" "}
                  {plural(value.since_anchor, "event")} since.
                </span>
              )}
            </>
          ) : error === null ? (
            <span class="quiet">Reading…</span>
          ) : (
            <Refusal error={error} />
          )}
        </p>
        <Button act={verify} disabled={busy}>
          {busy ? "Verifying…" : "Verify every chain"}
        </Button>
      </div>
      <div role="status">
        {busy && <p class="quiet chain-result">Computing every hash anew. This takes a while for a large journal.</p>}
        {refused !== null && <Refusal error={refused} />}
        {verified && !busy && <Result found={verified} />}
      </div>
    </section>
  );
}

function Result({ found }: { readonly found: Verified }) {
  const good = found.faults.length === 0;
  return (
    <div class="chain-result">
      <p class={`mark tone-${good ? "good" : "bad"}`}>
        <Glyph shape={good ? "check" : "cross"} />
        <strong>
          {good
            ? `Nothing was changed: ${plural(found.records, "record")} in ${plural(found.streams, "chain")}`
            : `${plural(found.faults.length, "fault")} in ${plural(found.records, "record")}`}
        </strong>
        <span class="faint">{found.seconds.toFixed(2)} s</span>
      </p>
      {!good && (
        <ul class="chain-faults">
          {found.faults.map((fault) => (
            <li key={`${fault.stream} ${fault.seq}`}>
              <code>
                {fault.stream} {fault.seq}
              </code>{" "}
              {fault.problem}
            </li>
          ))}
        </ul>
      )}
    </div>
  );
}
