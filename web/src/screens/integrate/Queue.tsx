// A gate's queue with its lattice: rows are changes, columns are the trees that are being checked.
// Rules: it is a table, so that a screen reader says of each cell which change and which tree it is about. A dot means
// "in this tree", and the same stands in words.

import type { GateRow, QueuedChange } from "../../api/types.ts";
import { When } from "../../components/basics.tsx";
import { Glyph, Mark } from "../../components/Mark.tsx";
import { duration, plural } from "../../components/words.ts";
import { now } from "../../store/clock.ts";
import { ToTask } from "./Integrate.tsx";
import { type Column, lattice, wayOf, worded } from "./lattice.ts";

export function Queue({ gate }: { readonly gate: GateRow }) {
  const { rows, columns, more } = lattice(gate);
  if (rows.length === 0 && columns.length === 0) {
    return (
      <p class="quiet queue-none">
        The queue is empty.
        {gate.landed.length === 0 && " A change that passes its own checks comes here by itself."}
      </p>
    );
  }
  const queued = new Map(gate.queue.map((change) => [change.attempt, change]));
  const nameOf = (attempt: string) => queued.get(attempt)?.task ?? attempt.split(".")[1] ?? attempt;
  return (
    <div class="queue-frame" tabIndex={0} role="group" aria-label={`Queue of ${gate.branch}`}>
      <table class="queue">
        <thead>
          <tr>
            {columns.map((column) => (
              <th key={column.check.check} scope="col" class="lattice-head" title={worded(column.check, nameOf)}>
                <Lamp column={column} words={worded(column.check, nameOf)} />
              </th>
            ))}
            <th scope="col">
              <span class={columns.length > 0 ? "faint" : "unseen"}>
                {columns.length > 0 ? `${plural(columns.length + more, "tree")} under test` : "Change"}
              </span>
            </th>
            <th scope="col" class="queue-state">
              <span class="unseen">State</span>
            </th>
            <th scope="col" class="queue-since">
              <span class="unseen">Since</span>
            </th>
          </tr>
        </thead>
        <tbody>
          <tr class="queue-tip">
            {columns.map((column) => (
              <td
                key={column.check.check}
                class={`lattice ${column.state} base${column.cells.some(Boolean) ? " on" : ""}`}
              >
                <i />
              </td>
            ))}
            <td class="quiet">
              The tip <code class="faint">{gate.tip.slice(0, 8)}</code>
            </td>
            <td class="queue-state">
              <Mark
                state={gate.tip_green === null ? "pending" : gate.tip_green ? "green" : "red"}
                word={gate.tip_green === null ? "not checked yet" : gate.tip_green ? "green" : "red"}
              />
            </td>
            <td />
          </tr>
          {rows.map((attempt, at) => (
            <Row
              key={attempt}
              attempt={attempt}
              change={queued.get(attempt)}
              at={at}
              columns={columns}
              nameOf={nameOf}
            />
          ))}
        </tbody>
      </table>
      {more > 0 && <p class="faint queue-none">{plural(more, "more tree")} under test</p>}
    </div>
  );
}

function Row(props: {
  readonly attempt: string;
  readonly change: QueuedChange | undefined;
  readonly at: number;
  readonly columns: readonly Column[];
  readonly nameOf: (attempt: string) => string;
}) {
  const { change, at } = props;
  const below = change?.on_top_of ?? [];
  const against = change?.against ?? [];
  return (
    <tr>
      {props.columns.map((column) => {
        const cell = column.cells[at] ?? "";
        const goes = column.cells.slice(at + 1).some(Boolean);
        return (
          <td key={column.check.check} class={`lattice ${column.state} ${cell}${goes ? " on" : ""}`}>
            <i />
            {cell === "in" && <span class="unseen">in this tree</span>}
          </td>
        );
      })}
      <td class="queue-title">
        {change ? <ToTask {...change} /> : <span class="faint">{props.nameOf(props.attempt)}, no longer queued</span>}
        <span class="faint queue-on">
          {change?.agent}
          {below.length > 0 && ` · on top of ${below.map(props.nameOf).join(", ")}`}
          {against.length > 0 && ` · waits for ${against.map(props.nameOf).join(", ")}`}
          {change?.merged && ` · ${wayOf(change.merged).way}`}
        </span>
      </td>
      <td class="queue-state">
        {change && <Mark state={change.state === "waiting" ? "pending" : change.state} word={change.state} />}
      </td>
      <td class="queue-since faint num">{change && <When at={change.since} />}</td>
    </tr>
  );
}

function Lamp({ column, words }: { readonly column: Column; readonly words: string }) {
  const { state, check } = column;
  const tone = state === "running" ? "busy" : state === "green" ? "good" : "bad";
  const shape = state === "running" ? "half" : state === "green" ? "check" : "cross";
  const length = state === "running" ? duration(now.value - check.started_at) : "";
  return (
    <span class={`mark tone-${tone}`}>
      <Glyph shape={shape} />
      <span class="unseen">
        {words}, {state === "running" ? `checked for ${length}` : state}
        {check.reason && `, ${check.reason}`}
      </span>
    </span>
  );
}
