// All that is known of the deck, kept up by its stream.
// Rules: only what the server said is here, nothing is guessed ahead of it. A delta is applied as one step, so nobody
// sees half of it. What is older than what is there is passed over; what speaks of rows that are not there, refused.

import { batch, computed, signal } from "@preact/signals";
import type { Link, Sink } from "../api/stream.ts";
import type {
  AgentRow,
  ApprovalRow,
  DeckRow,
  Delta,
  GateRow,
  NeedRow,
  RunRow,
  Snapshot,
  TaskRow,
} from "../api/types.ts";
import { learn } from "./clock.ts";
import { Table } from "./table.ts";

export class DeckStore implements Sink {
  readonly deck = signal<DeckRow | null>(null);
  readonly link = signal<Link>({ state: "connecting" });
  readonly runs = new Table<RunRow>((row) => row.run);
  readonly agents = new Table<AgentRow>((row) => row.attempt);
  readonly needs = new Table<NeedRow>((row) => row.id);
  readonly gates = new Table<GateRow>((row) => row.target);
  readonly approvals = new Table<ApprovalRow>((row) => row.approval);
  /** Tasks of the run that is followed. */
  readonly tasks = new Table<TaskRow>((row) => row.task);
  /** Streams of the followed run and how long they are: a view that reads one reads on when it grows. */
  readonly touched = signal<Readonly<Record<string, number>>>({});
  /** Another version of the server has begun since this page was loaded: it may say what this page does not know. */
  readonly outdated = computed(() => this.#version.value !== "" && this.deck.value?.version !== this.#version.value);
  readonly #version = signal("");
  /** Seconds since the epoch at which the deck last said something; 0 before that. */
  readonly heardAt = signal(0);

  /** What needs a person, most urgent first. */
  readonly ranked = computed(() =>
    this.needs.all().sort((a, b) => b.rank - a.rank || a.since - b.since || (a.id < b.id ? -1 : 1)),
  );

  /** How many agents are silent. */
  readonly silent = computed(() => this.agents.all().reduce((found, agent) => found + (agent.silent ? 1 : 0), 0));

  #seq = -1;

  snapshot(snapshot: Snapshot): void {
    learn(snapshot.at);
    this.#seq = snapshot.seq;
    batch(() => {
      this.heardAt.value = snapshot.at;
      if (snapshot.deck) {
        this.deck.value = snapshot.deck;
        if (this.#version.peek() === "") this.#version.value = snapshot.deck.version;
      }
      this.runs.replace(snapshot.runs);
      this.agents.replace(snapshot.agents);
      this.needs.replace(snapshot.needs);
      this.gates.replace(snapshot.gates);
      this.approvals.replace(snapshot.approvals);
      this.tasks.replace(snapshot.tasks);
      this.touched.value = {};
    });
  }

  delta(delta: Delta): boolean {
    if (this.#seq < 0) return false;
    if (delta.seq <= this.#seq) return true;
    learn(delta.at);
    this.#seq = delta.seq;
    let fits = true;
    batch(() => {
      this.heardAt.value = delta.at;
      if (delta.deck) this.deck.value = delta.deck;
      fits = [
        this.runs.apply(delta.runs),
        this.agents.apply(delta.agents),
        this.needs.apply(delta.needs),
        this.gates.apply(delta.gates),
        this.approvals.apply(delta.approvals),
        this.tasks.apply(delta.tasks),
      ].every(Boolean);
      if (Object.keys(delta.touched).length > 0) {
        this.touched.value = { ...this.touched.value, ...delta.touched };
      }
    });
    return fits;
  }

  setLink(link: Link): void {
    const known = this.link.peek();
    if (known.state !== link.state || link.state === "lost") this.link.value = link;
  }
}
