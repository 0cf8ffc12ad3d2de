import assert from "node:assert/strict";
import { test } from "node:test";
import { count, duration, money, percent, plural, relative } from "../src/components/words.ts";

test("lengths of time have at most two units", () => {
  const said = [0, 59.4, 60, 3599, 3600, 3900, 86_400, 97_200].map(duration);
  assert.deepEqual(said, ["0 s", "59 s", "1 min", "59 min", "1 h 00", "1 h 05", "1 d", "1 d 3 h"]);
});

test("moments are said from now, in both directions", () => {
  assert.equal(relative(100, 100.9), "now");
  assert.equal(relative(100, 112), "12 s ago");
  assert.equal(relative(220, 100), "in 2 min");
});

test("small sums keep the digits that tell them from nothing", () => {
  const said = [0, 0.00001, 0.0042, 0.412, 0.4, 1, 1234.567, -2.5].map(money);
  assert.deepEqual(said, ["$0.00", "<$0.0001", "$0.0042", "$0.412", "$0.40", "$1.00", "$1,234.57", "-$2.50"]);
});

test("counts and shares stay short and never round something to nothing", () => {
  assert.deepEqual([999, 1000, 12_440, 99_960, 999_500, 3_140_000].map(count), [
    "999",
    "1k",
    "12.4k",
    "100k",
    "1M",
    "3.1M",
  ]);
  assert.equal(percent(1, 1000), "<1%");
  assert.equal(percent(997, 1000), ">99%");
  assert.equal(percent(10, 10), "100%");
  assert.equal(percent(0, 10), "0%");
  assert.equal(percent(5, 0), "0%");
  assert.equal(plural(1, "task"), "1 task");
  assert.equal(plural(12_345, "event"), "12,345 events");
  assert.equal(plural(0, "agent is", "agents are"), "0 agents are");
});
