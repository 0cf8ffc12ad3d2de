// Cost: what was spent, on what, and what came of it.
// Rules: a sum that is partly an estimate, or known from an agent's words only, says so wherever it stands. Figures are
// the server's; only sums of the rows that are shown are made here, and say so where rows are missing.

import { signal } from "@preact/signals";
import { useMemo } from "preact/hooks";
import { get } from "../../api/client.ts";
import type { CostBy, CostRow, Costs, PurseRow } from "../../api/types.ts";
import { Button, Empty, Meter, Money, Tag } from "../../components/basics.tsx";
import { Refusal } from "../../components/Dialog.tsx";
import { Fact, Facts } from "../../components/Facts.tsx";
import { Segment } from "../../components/Segment.tsx";
import { useAnswer } from "../../components/useAnswer.ts";
import { useLazy } from "../../components/useLazy.ts";
import { count, money, percent, plural } from "../../components/words.ts";
import { link, type Place, swap } from "../../shell/router.ts";
import { useKeys } from "../../shell/useKeys.ts";
import { now } from "../../store/clock.ts";
import { store } from "../../store/live.ts";
import { exists, type ScreenProps } from "../registry.ts";
import { curves, deckCap, digits, type Named, named, summed } from "./burn.ts";
import "./cost.css";

const BY = [
  ["user", "Person"],
  ["agent", "Agent"],
  ["model", "Model"],
  ["run", "Run"],
  ["day", "Day"],
] as const;
const DAYS = [
  ["1", "Today"],
  ["7", "7 days"],
  ["30", "30 days"],
  ["90", "90 days"],
] as const;
const BEGIN: CostBy = "agent";
const SINCE = "7";
const LISTED = 50;

const whole = signal(false);

export default function Cost({ place }: ScreenProps) {
  const by = BY.find(([name]) => name === place.parts[0])?.[0] ?? BEGIN;
  const days = DAYS.find(([name]) => name === place.params["days"])?.[0] ?? SINCE;
  return <Shown key={`${by} ${days}`} by={by} days={days} place={place} />;
}

function Shown({ by, days }: { readonly by: CostBy; readonly days: (typeof DAYS)[number][0]; readonly place: Place }) {
  // The deck says what today has cost: when that moves, so has what is shown here.
  const spent = store.deck.value?.today_usd ?? 0;
  const { value, error, reading } = useAnswer((signal) => get<Costs>("costs", { by, days }, signal), spent, 5000);
  const goBy = (step: number) => {
    const at = BY.findIndex(([name]) => name === by);
    const next = BY[(at + step + BY.length) % BY.length];
    if (next) swap(["cost", next[0]], { days });
  };
  useKeys("Cost", [
    { keys: "l", does: "The next way to look at it", act: () => goBy(1) },
    { keys: "h", does: "The previous way to look at it", act: () => goBy(-1) },
    ...DAYS.map(([name, word], at) => ({
      keys: String(at + 1),
      does: word,
      act: () => swap(["cost", by], { days: name }),
    })),
  ]);
  return (
    <div class="screen cost">
      <header>
        <h1>Cost</h1>
        <div class="cost-tools">
          <Segment label="By" options={BY} chosen={by} choose={(name) => swap(["cost", name], { days })} />
          <Segment label="Since" options={DAYS} chosen={days} choose={(name) => swap(["cost", by], { days: name })} />
        </div>
      </header>
      {error !== null && <Refusal error={error} />}
      {value ? <Answered costs={value} by={by} /> : reading && <p class="quiet">Adding up…</p>}
    </div>
  );
}

function Answered({ costs, by }: { readonly costs: Costs; readonly by: CostBy }) {
  const drawn = useMemo(() => curves(costs, now.peek()), [costs]);
  if (costs.rows.length === 0 && costs.caps.length === 0) {
    return (
      <div class="panel">
        <Empty title="Nothing was spent" next={'quarterdeck run "what should be true afterwards"'}>
          Each call to a model is reserved before and settled after it, and appears here.
        </Empty>
      </div>
    );
  }
  return (
    <>
      <Sums costs={costs} by={by} />
      <div class="cost-top">
        <Burn curves={drawn} costs={costs} />
        <Caps caps={costs.caps} />
      </div>
      <Rows costs={costs} by={by} />
    </>
  );
}

function Sums({ costs, by }: { readonly costs: Costs; readonly by: CostBy }) {
  const sum = summed(costs.rows);
  return (
    <Facts>
      <Fact name={costs.cut ? "Spent in these rows" : "Spent"}>
        <strong class="sum">
          <Money usd={sum.cost} />
        </strong>
      </Fact>
      {by !== "model" && (
        <>
          <Fact name="Changes that landed">{sum.changes}</Fact>
          <Fact name="For each of them">{sum.changes > 0 ? <Money usd={sum.cost / sum.changes} /> : "–"}</Fact>
        </>
      )}
      <Fact name="Calls">{count(sum.calls)}</Fact>
      {sum.estimated > 0 && (
        <Fact name="Of it estimated">
          <Money usd={sum.estimated} /> <span class="faint">{percent(sum.estimated, sum.cost)}</span>
        </Fact>
      )}
      {sum.unverified > 0 && (
        <Fact name="Of it unverified">
          <Money usd={sum.unverified} /> <span class="faint">{percent(sum.unverified, sum.cost)}</span>
        </Fact>
      )}
    </Facts>
  );
}

function Burn({ curves: drawn, costs }: { readonly curves: ReturnType<typeof curves>; readonly costs: Costs }) {
  const Chart = useLazy(() => import("./Chart.tsx"));
  const cap = deckCap(costs.caps);
  return (
    <section class="panel" aria-labelledby="burn-title">
      <header>
        <h2 id="burn-title">Burn against the cap</h2>
        {cap !== null && (
          <p class="faint">
            cap <Money usd={cap} /> a day
          </p>
        )}
      </header>
      <div class="chart-frame">
        {drawn.at.length === 0 ? (
          <p class="quiet">Nothing was spent in this time.</p>
        ) : (
          Chart && <Chart curves={drawn} cap={cap} stretch={costs.burn_s} />
        )}
      </div>
    </section>
  );
}

function Caps({ caps }: { readonly caps: readonly PurseRow[] }) {
  return (
    <section class="panel caps" aria-labelledby="caps-title">
      <header>
        <h2 id="caps-title">Caps</h2>
      </header>
      {caps.length === 0 ? (
        <p class="quiet caps-none">No purse was opened in this time.</p>
      ) : (
        <ul>
          {caps.map((purse) => (
            <Purse key={purse.purse} named={named(purse)} />
          ))}
        </ul>
      )}
    </section>
  );
}

const dayOf = (at: number): string => new Date(at * 1000).toISOString().slice(0, 10);

function Purse({ named: { purse, who, day } }: { readonly named: Named }) {
  const { cap_usd: cap, settled_usd: settled, reserved_usd: reserved } = purse;
  const taken = settled + reserved;
  const share = cap ? taken / cap : 0;
  return (
    <li class="purse">
      <p>
        <strong>{who}</strong> {day && <span class="faint">{day === dayOf(now.value) ? "today" : day}, UTC</span>}
        <span class="purse-sum">
          <Money usd={settled} />
          {cap !== null && (
            <>
              {" "}
              of <Money usd={cap} />
            </>
          )}
        </span>
      </p>
      {cap !== null && (
        <Meter
          value={taken}
          max={cap}
          label={`${percent(taken, cap)} of the cap of ${who}`}
          tone={share >= 0.9 ? "bad" : share >= 0.7 ? "wait" : undefined}
        />
      )}
      {reserved > 0 && <p class="faint purse-more">{money(reserved)} set aside for calls under way</p>}
    </li>
  );
}

function Rows({ costs, by }: { readonly costs: Costs; readonly by: CostBy }) {
  const [, heading = ""] = BY.find(([name]) => name === by) ?? [];
  // Days are read from the newest back.
  const rows = by === "day" ? [...costs.rows].reverse() : costs.rows;
  const shown = whole.value ? rows : rows.slice(0, LISTED);
  const most = rows.reduce((found, row) => Math.max(found, row.cost_usd), 0);
  const total = summed(costs.rows).cost;
  const changes = by !== "model";
  const points = digits(rows);
  return (
    <section class="panel cost-rows" aria-label={`Cost by ${heading.toLowerCase()}`}>
      <div class="cost-scroll" tabIndex={0} role="group" aria-label="Rows">
        <table>
          <thead>
            <tr>
              <th scope="col">{heading}</th>
              <th scope="col" class="num">
                Cost
              </th>
              <th scope="col" class="cost-share">
                <span class="unseen">Share</span>
              </th>
              {changes && (
                <>
                  <th scope="col" class="num">
                    Changes
                  </th>
                  <th scope="col" class="num">
                    For each
                  </th>
                </>
              )}
              <th scope="col" class="num">
                Calls
              </th>
              <th scope="col" class="num">
                Tokens in
              </th>
              <th scope="col" class="num">
                Cached
              </th>
              <th scope="col" class="num">
                Out
              </th>
            </tr>
          </thead>
          <tbody>
            {shown.map((row) => (
              <Line key={row.key} row={row} by={by} most={most} total={total} points={points} />
            ))}
          </tbody>
        </table>
      </div>
      {(rows.length > shown.length || costs.cut) && (
        <p class="cost-more quiet">
          {rows.length > shown.length && (
            <Button little act={() => (whole.value = true)}>
              Show {plural(rows.length - shown.length, "more row")}
            </Button>
          )}
          {costs.cut && " There are more than the server gives at once."}
        </p>
      )}
    </section>
  );
}

function Line(props: {
  readonly row: CostRow;
  readonly by: CostBy;
  readonly most: number;
  readonly total: number;
  readonly points: number;
}) {
  const { row, by } = props;
  const { tokens } = row;
  const input = tokens.input + tokens.cache_read + tokens.cache_write;
  return (
    <tr>
      <th scope="row" class="cost-key">
        <Key by={by} name={row.key} />{" "}
        {row.estimated_usd > 0 && (
          <Tag title="The wire carried no usage: counted from the text">≈ {money(row.estimated_usd)} estimated</Tag>
        )}
        {row.unverified_usd > 0 && (
          <Tag tone="wait" title="Known from the agent's own words only">
            {money(row.unverified_usd)} unverified
          </Tag>
        )}
      </th>
      <td class="num">
        <Dollars usd={row.cost_usd} points={props.points} />
      </td>
      <td class="cost-share">
        <Meter value={row.cost_usd} max={props.most} label={`${percent(row.cost_usd, props.total)} of what is shown`} />
      </td>
      {by !== "model" && (
        <>
          <td class="num">{row.changes}</td>
          <td class="num">
            {row.per_change_usd === null ? (
              <span class="faint">–</span>
            ) : (
              <Dollars usd={row.per_change_usd} points={props.points} />
            )}
          </td>
        </>
      )}
      <td class="num">{count(row.calls)}</td>
      <td class="num" title={String(input)}>
        {count(input)}
      </td>
      <td class="num" title={String(tokens.cache_read)}>
        {percent(tokens.cache_read, input)}
      </td>
      <td class="num" title={String(tokens.output)}>
        {count(tokens.output)}
      </td>
    </tr>
  );
}

/** A sum in a column of sums. */
function Dollars({ usd, points }: { readonly usd: number; readonly points: number }) {
  return <span title={`$${usd}`}>${usd.toFixed(points)}</span>;
}

function Key({ by, name }: { readonly by: CostBy; readonly name: string }) {
  if (by !== "run") return <span>{name || "unknown"}</span>;
  const goal = store.runs.get(name)?.goal;
  return (
    <span class="cost-run">
      {exists("run") ? <a href={link(["run", name])}>{goal ?? name}</a> : (goal ?? name)}
      {goal && <span class="faint mono">{name}</span>}
    </span>
  );
}
