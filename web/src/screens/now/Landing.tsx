// What is about to land, and what landed last.

import type { ComponentChildren } from "preact";
import type { GateRow } from "../../api/types.ts";
import { Tag, When } from "../../components/basics.tsx";
import { Mark } from "../../components/Mark.tsx";
import { plural } from "../../components/words.ts";
import { link } from "../../shell/router.ts";
import { store } from "../../store/live.ts";
import { exists } from "../registry.ts";

const QUEUED = 8;
const LANDED = 6;

export function Landing() {
  const gates = store.gates.all();
  const queue = gates.flatMap((gate) => gate.queue.map((change) => ({ gate, change })));
  const landed = gates
    .flatMap((gate) => gate.landed.map((change) => ({ gate, change })))
    .sort((a, b) => b.change.at - a.change.at)
    .slice(0, LANDED);
  if (queue.length === 0 && landed.length === 0) return null;
  const all = exists("integrate");
  return (
    <section class="now-landing" aria-labelledby="landing">
      <header class="now-head">
        <h2 id="landing">{all ? <a href={link(["integrate"])}>Landing</a> : "Landing"}</h2>
        <p class="quiet">{queue.length ? `${plural(queue.length, "change")} at the gate` : "nothing at the gate"}</p>
      </header>
      <ul class="panel run-list">
        {queue.slice(0, QUEUED).map(({ gate, change }) => (
          <Line
            key={change.attempt}
            gate={gate}
            title={change.title}
            state={change.state === "waiting" ? "queued" : change.state}
            at={change.since}
          >
            {change.on_top_of.length > 0 && <span>on top of {change.on_top_of.length}</span>}
          </Line>
        ))}
        {landed.map(({ gate, change }) => (
          <Line key={change.commit} gate={gate} title={change.title} state="merged" at={change.at}>
            <code>{change.commit.slice(0, 8)}</code>
            {!change.reviewed && <Tag>unreviewed</Tag>}
          </Line>
        ))}
      </ul>
    </section>
  );
}

function Line(props: {
  readonly gate: GateRow;
  readonly title: string;
  readonly state: string;
  readonly at: number;
  readonly children: ComponentChildren;
}) {
  return (
    <li class="run-line landing-line">
      <div class="run-top">
        <Mark state={props.state} bare />
        <span class="run-goal">{props.title}</span>
      </div>
      <p class="run-facts faint">
        <span class="cut">{props.gate.branch}</span>
        {props.children}
        <When at={props.at} />
      </p>
    </li>
  );
}
