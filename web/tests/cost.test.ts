import assert from "node:assert/strict";
import { test } from "node:test";
import type { PurseRow } from "../src/api/types.ts";
import { curves, deckCap, named, summed } from "../src/screens/cost/burn.ts";

const DAY = 86_400;
const purse = (name: string, cap: number | null = 5): PurseRow => ({
  purse: name,
  cap_usd: cap,
  settled_usd: 1,
  reserved_usd: 0,
});

test("stretches without spending are nothing spent, and a day begins anew at midnight", () => {
  const begin = 100 * DAY;
  const { at, spent, day } = curves(
    {
      burn: [
        { at: begin + 3600, usd: 1 },
        { at: begin + 3 * 3600, usd: 2 },
        { at: begin + DAY, usd: 4 },
      ],
      burn_s: 3600,
    },
    begin + DAY + 3700,
  );
  assert.equal(at[0], begin);
  assert.equal(at[at.length - 1], begin + DAY + 3600);
  assert.equal(at.length, 26);
  assert.deepEqual(spent.slice(0, 5), [0, 1, 0, 2, 0]);
  assert.deepEqual(day.slice(0, 5), [0, 1, 1, 3, 3]);
  assert.deepEqual([day[23], day[24], day[25]], [3, 4, 4]);
  assert.equal(
    spent.reduce((sum, usd) => sum + usd, 0),
    7,
  );
});

test("a long time is drawn from where there are points enough, and its days are still whole", () => {
  const begin = 100 * DAY;
  const { at, day } = curves(
    {
      burn: [
        { at: begin, usd: 1 },
        { at: begin + 90 * DAY, usd: 3 },
      ],
      burn_s: 900,
    },
    begin + 90 * DAY + 60,
  );
  assert.ok(at.length <= 4_001);
  assert.equal(day[day.length - 1], 3);
  assert.equal(day[0], 0);
});

test("no spending is no curve", () => {
  assert.deepEqual(curves({ burn: [], burn_s: 900 }, 5).at, []);
  assert.deepEqual(curves({ burn: [{ at: 1, usd: 1 }], burn_s: 0 }, 5).at, []);
});

test("a purse says whose it is and for which day", () => {
  const words = (name: string) => {
    const { who, day } = named(purse(name));
    return [who, day];
  };
  assert.deepEqual(words("deck/2026-11-21"), ["The whole deck", "2026-11-21"]);
  assert.deepEqual(words("user/ada/2026-11-21"), ["ada", "2026-11-21"]);
  assert.deepEqual(words("user/a/b/2026-11-21"), ["a/b", "2026-11-21"]);
  assert.deepEqual(words("run/r-1"), ["run r-1", ""]);
  assert.deepEqual(words("odd"), ["odd", ""]);
});

test("the cap of the newest day counts", () => {
  assert.equal(deckCap([purse("deck/2026-11-20", 7), purse("deck/2026-11-21", 9), purse("user/a/2026-11-22", 1)]), 9);
  assert.equal(deckCap([purse("run/r-1")]), null);
  assert.equal(deckCap([purse("deck/2026-11-21", null)]), null);
});

test("sums are of all that is there", () => {
  const tokens = { input: 0, cache_read: 0, cache_write: 0, output: 0 };
  const row = { key: "k", calls: 2, tokens, cost_usd: 1.5, estimated_usd: 0.5, unverified_usd: 0.25, changes: 3 };
  assert.deepEqual(
    summed([
      { ...row, per_change_usd: 0.5 },
      { ...row, per_change_usd: null },
    ]),
    {
      cost: 3,
      calls: 4,
      changes: 6,
      estimated: 1,
      unverified: 0.5,
    },
  );
});
