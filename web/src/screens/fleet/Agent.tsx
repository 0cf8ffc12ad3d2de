// One agent: as a row of the fleet, as a card where it is narrow, and beside the list with what can be done.

import type { ComponentChildren } from "preact";
import { cancel, FINISHED, message, pauseOrResume, raiseBudget } from "../../actions/steer.tsx";
import type { AgentRow } from "../../api/types.ts";
import { Button, Command, Meter, Money, Tag, When } from "../../components/basics.tsx";
import { Fact, Facts } from "../../components/Facts.tsx";
import { Mark, type Tone } from "../../components/Mark.tsx";
import { count, duration, percent, plural } from "../../components/words.ts";
import { link } from "../../shell/router.ts";
import { now } from "../../store/clock.ts";
import { store } from "../../store/live.ts";
import { exists } from "../registry.ts";
import { pace } from "./order.ts";

export function FleetHead() {
  return (
    <div class="head fleet-row" role="row" aria-rowindex={1}>
      <span role="columnheader">Agent</span>
      <span role="columnheader">Task</span>
      <span role="columnheader">Last useful output</span>
      <span role="columnheader">Waits for</span>
      <span role="columnheader">Context</span>
      <span role="columnheader">Spent</span>
      <span role="columnheader" class="num">
        Turns
      </span>
    </div>
  );
}

export function AgentCells({ id, card }: { readonly id: string; readonly card: boolean }) {
  const agent = store.agents.get(id);
  if (!agent) return null;
  return card ? <Card agent={agent} /> : <Cells agent={agent} />;
}

function Cells({ agent }: { readonly agent: AgentRow }) {
  return (
    <div class="fleet-row" role="presentation">
      <span role="cell" class="two">
        <span class="cut strong">
          <State agent={agent} /> {agent.agent}
        </span>
        <span class="cut faint">
          {[agent.model || agent.harness, nodeWord(agent.node)].filter(Boolean).join(" · ")}
        </span>
      </span>
      <span role="cell" class="two">
        <span class="cut">{agent.title}</span>
        <AttemptId id={agent.attempt} />
      </span>
      <span role="cell" class="two">
        <Useful agent={agent} />
      </span>
      <span role="cell" class="two">
        <Waits agent={agent} />
      </span>
      <span role="cell" class="two">
        <Context agent={agent} />
      </span>
      <span role="cell" class="two">
        <Spent agent={agent} />
      </span>
      <span role="cell" class="num quiet">
        {agent.turns}
        <span class="faint">/{agent.max_turns}</span>
      </span>
    </div>
  );
}

function Card({ agent }: { readonly agent: AgentRow }) {
  return (
    <div class="fleet-card" role="cell">
      <p class="fleet-line">
        <span class="cut strong">
          <State agent={agent} /> {agent.agent}
        </span>
        <Spent agent={agent} />
      </p>
      <p class="cut">{agent.title}</p>
      <div class="two">
        <Useful agent={agent} />
      </div>
      <p class="fleet-line faint">
        {agent.waits_on ? (
          <span class="cut">
            waits for {agent.waits_on} {agent.waits_since !== null && <When at={agent.waits_since} as="for" />}
          </span>
        ) : (
          <span>at work</span>
        )}
        <span>
          {agent.turns}/{agent.max_turns}
        </span>
      </p>
    </div>
  );
}

/** Where it does not fit, its run is cut and not what tells it from the others of that run. */
function AttemptId({ id }: { readonly id: string }) {
  const end = id.indexOf(".") + 1;
  return (
    <span class="attempt-id faint mono" title={id}>
      <span class="cut">{id.slice(0, end)}</span>
      <span class="cut">{id.slice(end)}</span>
    </span>
  );
}

function State({ agent }: { readonly agent: AgentRow }) {
  const state = agent.silent ? "silent" : isPerson(agent) ? "waiting" : "working";
  return <Mark state={state} bare />;
}

/** Reads its task once and cannot be told anything afterwards. */
const READS_ONCE = "command";
const isPerson = (agent: AgentRow): boolean => agent.waits_on === "approval" || agent.waits_on === "question";
const times = (ratio: number): string => `${ratio < 10 ? ratio.toFixed(1) : Math.round(ratio)} times`;
const nodeWord = (node: string): string => (node === "implement" ? "" : node);

/** How long ago it last brought something, against its own usual gap. */
function Useful({ agent }: { readonly agent: AgentRow }) {
  return (
    <>
      <span class="cut" title={agent.useful}>
        <span class={agent.silent ? "tone-bad strong" : "strong"}>
          <When at={agent.useful_at} />
        </span>
        <span class="quiet"> {agent.useful || "nothing yet"}</span>
      </span>
      <Pace agent={agent} />
    </>
  );
}

/** The only part of a row that the clock draws anew. The bar ends at one and a half of the usual gap. */
function Pace({ agent }: { readonly agent: AgentRow }) {
  const ratio = pace(agent, now.value);
  const usual = ratio === null ? "its usual gap is not known yet" : `usually every ${duration(agent.cadence_s)}`;
  if (agent.silent) {
    return (
      <span class="faint">
        {ratio === null ? usual : `${times(ratio)} its usual gap of ${duration(agent.cadence_s)}`}
      </span>
    );
  }
  const tone: Tone = ratio !== null && ratio > 1 ? "wait" : "good";
  return (
    <span class="pace" title={usual}>
      <Meter value={Math.min(ratio ?? 0, 1.5)} max={1.5} label={`Time since useful output; ${usual}`} tone={tone} />
    </span>
  );
}

function Waits({ agent }: { readonly agent: AgentRow }) {
  if (!agent.waits_on) return <span class="faint">at work</span>;
  return (
    <>
      <span class={`cut${isPerson(agent) ? " tone-wait strong" : ""}`}>
        {isPerson(agent) ? `you: ${agent.waits_on}` : agent.waits_on}
      </span>
      <span class="faint">{agent.waits_since !== null && <When at={agent.waits_since} as="for" />}</span>
    </>
  );
}

function Context({ agent }: { readonly agent: AgentRow }) {
  if (agent.context_window <= 0) {
    return <span class="faint">{agent.context_tokens ? count(agent.context_tokens) : "not known"}</span>;
  }
  const share = agent.context_tokens / agent.context_window;
  return (
    <>
      <span>
        {percent(agent.context_tokens, agent.context_window)}
        <span class="faint"> of {count(agent.context_window)}</span>
      </span>
      <Meter
        value={agent.context_tokens}
        max={agent.context_window}
        label="Context filled"
        tone={share > 0.9 ? "bad" : share > 0.75 ? "wait" : undefined}
      />
    </>
  );
}

function Spent({ agent }: { readonly agent: AgentRow }) {
  if (agent.cap_usd === null) {
    return (
      <span>
        <Money usd={agent.spent_usd} />
      </span>
    );
  }
  const share = agent.cap_usd > 0 ? agent.spent_usd / agent.cap_usd : 0;
  return (
    <>
      <span>
        <Money usd={agent.spent_usd} />
        <span class="faint">
          {" "}
          of <Money usd={agent.cap_usd} />
        </span>
      </span>
      <Meter
        value={agent.spent_usd}
        max={agent.cap_usd}
        label="Spent of its cap"
        tone={share > 0.9 ? "bad" : share > 0.7 ? "wait" : undefined}
      />
    </>
  );
}

/** What is known of one agent, and what can be done. */
export function Agent(props: { readonly id: string; readonly open: () => void; readonly close: () => void }) {
  const agent = store.agents.get(props.id);
  if (!agent) {
    return (
      <Aside close={props.close} title="This agent has finished">
        <p class="quiet mono">{props.id}</p>
        <Command text={`quarterdeck show ${props.id}`} />
      </Aside>
    );
  }
  const run = store.runs.get(agent.run);
  return (
    <Aside close={props.close} title={agent.agent}>
      <p>
        {agent.silent ? (
          <Mark state="silent" word={`silent for ${duration(now.value - agent.useful_at)}`} />
        ) : isPerson(agent) ? (
          <Mark state="waiting" word={`waits for your ${agent.waits_on === "question" ? "answer" : "approval"}`} />
        ) : (
          <Mark state="working" word={agent.waits_on ? `waits for ${agent.waits_on}` : "at work"} />
        )}
      </p>
      <p class="agent-title">{agent.title}</p>
      {run && (
        <p class="quiet">
          {exists("run") ? <a href={link(["run", run.run])}>{run.goal}</a> : run.goal}
          {run.held && (
            <>
              {" "}
              <Tag tone="wait">{run.held}</Tag>
            </>
          )}
        </p>
      )}
      <Facts>
        <Fact name="Last useful">
          <When at={agent.useful_at} />
        </Fact>
        <Fact name="Usual gap">{agent.cadence_s > 0 ? duration(agent.cadence_s) : "not known yet"}</Fact>
        <Fact name="Started">
          <When at={agent.started_at} />
        </Fact>
        <Fact name="Harness">{agent.harness}</Fact>
        <Fact name="Model">{agent.model || "none yet"}</Fact>
        <Fact name="Working on">{agent.node}</Fact>
        <Fact name="Steps">{agent.steps}</Fact>
        <Fact name="Turns">
          {agent.turns} of {agent.max_turns}
        </Fact>
        <Fact name="Context">
          {count(agent.context_tokens)}
          {agent.context_window > 0 && ` of ${count(agent.context_window)}`}
        </Fact>
        <Fact name="Spent">
          <Money usd={agent.spent_usd} /> of <Money usd={agent.cap_usd} />
        </Fact>
        {agent.incarnation > 1 && <Fact name="Started anew">{plural(agent.incarnation - 1, "time")}</Fact>}
      </Facts>
      {agent.useful && (
        <div>
          <h3>Its last useful output</h3>
          <p class="agent-useful">{agent.useful}</p>
        </div>
      )}
      <div class="buttons">
        {exists("run") && (
          <Button look="main" keys="o" act={props.open}>
            Open
          </Button>
        )}
        {agent.harness !== READS_ONCE && (
          <Button orders keys="m" act={() => message(agent)}>
            Message
          </Button>
        )}
        {run && !FINISHED.includes(run.status) && (
          <>
            <Button orders keys="p" act={() => pauseOrResume(run)}>
              {run.status === "paused" ? "Resume the run" : "Pause the run"}
            </Button>
            <Button orders keys="b" act={() => raiseBudget(run)}>
              Raise the budget
            </Button>
            <Button orders look="danger" act={() => cancel(run)}>
              Cancel the run
            </Button>
          </>
        )}
      </div>
      <Command text={`quarterdeck logs ${agent.attempt} --follow`} />
    </Aside>
  );
}

function Aside(props: { readonly title: string; readonly close: () => void; readonly children: ComponentChildren }) {
  return (
    <aside class="fleet-detail" aria-label="The chosen agent">
      <header>
        <h2 class="cut">{props.title}</h2>
        <Button look="bare" little label="Close" act={props.close}>
          ×
        </Button>
      </header>
      {props.children}
    </aside>
  );
}
