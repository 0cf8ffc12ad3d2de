// The exact action that is asked about: the tool with its arguments, the plan, or the change.
// Rules: shown whole and as text. Nothing an agent wrote is ever taken as markup.

import type { ApprovalDetail } from "../api/types.ts";
import { Money, Tag, When } from "../components/basics.tsx";
import { DiffView } from "../components/DiffView.tsx";
import { Fact, Facts } from "../components/Facts.tsx";
import type { Tone } from "../components/Mark.tsx";

const RISK: Readonly<Record<string, Tone>> = { low: "good", medium: "wait", high: "bad" };
const WHAT: Readonly<Record<string, string>> = {
  tool: "Run a tool",
  plan: "Carry out a plan",
  merge: "Merge a change",
};

/** `alone`: not below a heading of its own. */
export function Subject({ approval, alone }: { readonly approval: ApprovalDetail; readonly alone?: boolean }) {
  const Title = alone ? "h2" : "h3";
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
        <Fact name="Cost so far">
          <Money usd={approval.cost_usd} />
        </Fact>
        <Fact name="Expires">{approval.expires_at === null ? "never" : <When at={approval.expires_at} />}</Fact>
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
      <Action subject={approval.subject} />
      {approval.diff && <DiffView diff={approval.diff} />}
    </div>
  );
}

function Action({ subject }: { readonly subject: unknown }) {
  if (subject === null || subject === undefined || subject === "") return null;
  const text = typeof subject === "string" ? subject : JSON.stringify(subject, null, 2);
  return (
    <pre class="code" tabIndex={0} aria-label="The exact action">
      {text}
    </pre>
  );
}
