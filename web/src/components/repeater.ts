// Something that is done again when it may have become necessary.
// Rules: never two at once, never more often than every `pause` milliseconds, and always once more after the last time
// it was asked for. What has begun is let finish: else something that is asked for all the time would never be done.

export interface Timer {
  readonly set: (act: () => void, ms: number) => number;
  readonly clear: (timer: number) => void;
  readonly now: () => number;
}

const wall: Timer = {
  set: (act, ms) => setTimeout(act, ms) as unknown as number,
  clear: (timer) => clearTimeout(timer),
  now: () => performance.now(),
};

export class Repeater {
  readonly #act: (signal: AbortSignal) => Promise<void>;
  readonly #pause: number;
  readonly #timer: Timer;
  readonly #end = new AbortController();
  #begun = Number.NEGATIVE_INFINITY;
  #running = false;
  #wanted = false;
  #waiting: number | null = null;

  /** `act` has to deal with its own failures. */
  constructor(act: (signal: AbortSignal) => Promise<void>, pause: number, timer: Timer = wall) {
    this.#act = act;
    this.#pause = pause;
    this.#timer = timer;
  }

  ask(): void {
    if (this.#end.signal.aborted || this.#waiting !== null) return;
    if (this.#running) {
      this.#wanted = true;
      return;
    }
    const wait = Math.max(0, this.#begun + this.#pause - this.#timer.now());
    if (wait === 0) this.#start();
    else this.#waiting = this.#timer.set(() => this.#start(), wait);
  }

  end(): void {
    this.#end.abort();
    if (this.#waiting !== null) this.#timer.clear(this.#waiting);
  }

  #start(): void {
    this.#waiting = null;
    this.#running = true;
    this.#begun = this.#timer.now();
    this.#act(this.#end.signal).finally(() => {
      this.#running = false;
      if (!this.#wanted) return;
      this.#wanted = false;
      this.ask();
    });
  }
}
