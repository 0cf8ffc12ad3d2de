import assert from "node:assert/strict";
import { test } from "node:test";
import { Repeater, type Timer } from "../src/components/repeater.ts";

class Hand implements Timer {
  time = 0;
  waiting: { at: number; act: () => void } | null = null;
  readonly set = (act: () => void, ms: number): number => {
    this.waiting = { at: this.time + ms, act };
    return 1;
  };
  readonly clear = (): void => {
    this.waiting = null;
  };
  readonly now = (): number => this.time;

  pass(ms: number): void {
    this.time += ms;
    const due = this.waiting;
    if (!due || due.at > this.time) return;
    this.waiting = null;
    due.act();
  }
}

function made(pause = 1000) {
  const hand = new Hand();
  const begun: { signal: AbortSignal; finish: () => void }[] = [];
  const act = (signal: AbortSignal) => new Promise<void>((finish) => begun.push({ signal, finish }));
  return { hand, begun, repeater: new Repeater(act, pause, hand) };
}

const settled = () => new Promise<void>((go) => setImmediate(go));

test("it begins at once, never twice at the same time, and once more for what came meanwhile", async () => {
  const { hand, begun, repeater } = made();
  repeater.ask();
  repeater.ask();
  repeater.ask();
  assert.equal(begun.length, 1);
  assert.equal(begun[0]?.signal.aborted, false);
  begun[0]?.finish();
  await settled();
  assert.equal(begun.length, 1);
  hand.pass(1000);
  assert.equal(begun.length, 2);
  begun[1]?.finish();
  await settled();
  hand.pass(5000);
  assert.equal(begun.length, 2);
});

test("what takes longer than the pause begins anew right after it", async () => {
  const { hand, begun, repeater } = made();
  repeater.ask();
  hand.pass(3000);
  repeater.ask();
  begun[0]?.finish();
  await settled();
  assert.equal(begun.length, 2);
});

test("asked all the time, it is done once in each pause", async () => {
  const { hand, begun, repeater } = made();
  for (let step = 0; step < 40; step += 1) {
    repeater.ask();
    begun[begun.length - 1]?.finish();
    await settled();
    hand.pass(100);
  }
  assert.equal(begun.length, 4 + 1);
});

test("after its end nothing begins, and what has begun is told", async () => {
  const { hand, begun, repeater } = made();
  repeater.ask();
  repeater.ask();
  repeater.end();
  assert.equal(begun[0]?.signal.aborted, true);
  begun[0]?.finish();
  await settled();
  hand.pass(5000);
  repeater.ask();
  assert.equal(begun.length, 1);
});
