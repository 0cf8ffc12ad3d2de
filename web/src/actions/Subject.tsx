// The exact action that is asked about: the tool with its arguments, the plan, or the change.
// Rules: shown whole and as text. Nothing an agent wrote is ever taken as markup.

import type { ApprovalDetail } from "../api/types.ts";
import { Money, Tag, When } from "../components/basics.tsx";
import { DiffView } from "../components/DiffView.tsx";
import { Fact, Facts } from "../components/Facts.tsx";
import type { Tone } from "../components/Mark.tsx";
import { understood } from "./subject.ts";

const RISK: Readonly<Record<string, Tone>> = { low: "good", medium: "wait", high: "bad" };
const WHAT: Readonly<Record<string, string>> = {
  tool: "Run a tool",
  plan: "Carry out a plan",
  merge: "Merge a change",
  revert: "Take a landed change back",
};

/** `alone`: not below a heading of its own. */
export function Subject({ approval, alone }: { readonly approval: ApprovalDetail; readonly alone?: boolean }) {
  const Title = alone ? "h2" : "h3";
  const known = understood(approval);
  return (
    <div class="subject">
      <Title class="subject-title">{approval.title}</Title>
      <Facts>
        <Fact name="What">{WHAT[approval.what] ?? approval.what}</Fact>
        <Fact name="Asked by">
          {approval.agent || "the deck"}, <When at={approval.since} />
        </Fact>
        <Fact name="Risk">
          <Tag tone={RISK[approval.risk] ?? "idle"}>{approval.risk}</Tag>
        </Fact>
        {approval.what !== "tool" && (
          <Fact name={approval.what === "plan" ? "May cost" : "Cost so far"}>
            <Money usd={approval.cost_usd} />
          </Fact>
        )}
        {approval.status === "open" && (
          <Fact name="Expires">{approval.expires_at === null ? "never" : <When at={approval.expires_at} />}</Fact>
        )}
        {known.into && (
          <Fact name="Onto">
            <code>{known.into}</code>
          </Fact>
        )}
        <Fact name="Action">
          <code title={approval.action_hash}>{approval.action_hash.slice(0, 16)}</code>
        </Fact>
      </Facts>
      {approval.why.length > 0 && (
        <ul class="why">
          {approval.why.map((reason) => (
            <li key={reason}>{reason}</li>
          ))}
        </ul>
      )}
      {known.findings.length > 0 && (
        <ul class="why">
          {known.findings.map((finding) => (
            <li key={finding}>{finding}</li>
          ))}
        </ul>
      )}
      {known.other && (
        <p class="refusal" role="alert">
          The change below is not the one that is asked about: the agent has made another one since.
        </p>
      )}
      {approval.diff ? (
        <>
          <DiffView diff={approval.diff} />
          <details class="exact">
            <summary>The exact action, as it is decided</summary>
            <Action text={approval.subject} cut={approval.cut} />
          </details>
        </>
      ) : (
        <Action text={approval.subject} cut={approval.cut} />
      )}
    </div>
  );
}

function Action({ text, cut }: { readonly text: string; readonly cut: boolean }) {
  if (text === "") return null;
  return (
    <>
      <pre class="code" tabIndex={0} aria-label="The exact action">
        {text}
      </pre>
      {cut && <p class="quiet">Only the beginning is shown.</p>}
    </>
  );
}
