import { describe, expect, it } from "vitest";

import type { Decision } from "../api/types";
import { folded } from "./folded";

const MINUTE = 60_000;

function row(minute: number, more: Partial<Decision> = {}): Decision {
  const plain = { symbol: "SOL/USD", strategy: "DCA", verdict: "NEAR_MISS", reason: "volume_low" };
  return { ...plain, time_ms: minute * MINUTE, ...more } as unknown as Decision;
}

function seen(rows: readonly Decision[], open: (row: Decision) => boolean = () => false): [number, number][] {
  return folded(rows, open).map(({ newest, members }) => [newest.time_ms / MINUTE, members.length]);
}

describe("near misses that repeat", () => {
  it("are one row, also where those of another symbol lie between", () => {
    const other = row(20, { symbol: "ADA/USD" });
    expect(seen([row(25), row(20), other, row(15)])).toEqual([[25, 3], [20, 1]]);
  });

  it("are told apart where the reason changes, the symbol was bought, or an hour lies between", () => {
    expect(seen([row(20), row(15, { reason: "drop_too_small" }), row(10)])).toEqual([[20, 1], [15, 1], [10, 1]]);
    expect(seen([row(20), row(15, { verdict: "TAKE", reason: "taken" }), row(10)])).toEqual([[20, 1], [15, 1], [10, 1]]);
    expect(seen([row(90), row(30), row(-31)])).toEqual([[90, 2], [-31, 1]]);
  });

  it("stand one by one where somebody opened them", () => {
    expect(seen([row(20), row(15), row(10)], () => true)).toEqual([[20, 1], [15, 1], [10, 1]]);
  });

  it("never swallow what was taken or skipped", () => {
    const skipped = { verdict: "SKIP", reason: "no_cash" } as const;
    expect(seen([row(20, skipped), row(15, skipped)])).toEqual([[20, 1], [15, 1]]);
  });
});
