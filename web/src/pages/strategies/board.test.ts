import { describe, expect, it } from "vitest";

import type { ReadinessBoard, ReadinessRow } from "$lib/api/types";

import { distance, filtered, heatRows, nearest, ordered } from "./board";
import { rules } from "./thresholds";

function row(symbol: string, readiness: number | null, more: Partial<ReadinessRow> = {}): ReadinessRow {
  const band = (readiness ?? 0) >= 80 ? "ready" : (readiness ?? 0) >= 60 ? "close" : (readiness ?? 0) >= 30 ? "neutral" : "waiting";
  return {
    symbol,
    tier: "mid_cap",
    readiness,
    band,
    confidence: null,
    reason: "drop_too_small",
    lacks: "drop",
    sentence: "fell only 1.2 % in 4 h",
    trigger: null,
    trigger_price: null,
    price: 100,
    return_24h: 0,
    state: "free",
    measurements: {},
    ...more,
  };
}

const strategy = { timeframe: "5m", scanned_ms: 0, next_ms: 0, ready: 0, close: 0, neutral: 0, waiting: 0 };
const board: ReadinessBoard = {
  account: "paper",
  until_ms: 0,
  items: [
    { ...strategy, strategy: "DCA", rows: [row("SOL/USDT", 90), row("BTC/USDT", 10, { tier: "large_cap" }), row("ADA/USDT", null)] },
    { ...strategy, strategy: "SWING", rows: [row("BTC/USDT", 65, { tier: "large_cap" }), row("SOL/USDT", 5)] },
  ],
};
const everything = { search: "", tiers: [], bands: [] };

describe("the board", () => {
  const rows = heatRows(board);

  it("has one row for each symbol with what every strategy says", () => {
    expect(rows.map(({ symbol, best }) => [symbol, best])).toEqual([
      ["ADA/USDT", -1],
      ["BTC/USDT", 65],
      ["SOL/USDT", 90],
    ]);
    expect(rows[1]?.cells["SWING"]?.readiness).toBe(65);
  });

  it("is narrowed by tier, by band and by a few letters", () => {
    expect(filtered(rows, { ...everything, tiers: ["large_cap"] }).map(({ symbol }) => symbol)).toEqual(["BTC/USDT"]);
    expect(filtered(rows, { ...everything, bands: ["ready", "close"] })).toHaveLength(2);
    expect(filtered(rows, { ...everything, search: "ad" }).map(({ symbol }) => symbol)).toEqual(["ADA/USDT"]);
  });

  it("puts what a strategy did not measure last, whichever way it is sorted", () => {
    expect(ordered(rows, "DCA", true).map(({ symbol }) => symbol)).toEqual(["SOL/USDT", "BTC/USDT", "ADA/USDT"]);
    expect(ordered(rows, "DCA", false).map(({ symbol }) => symbol)).toEqual(["BTC/USDT", "SOL/USDT", "ADA/USDT"]);
  });

  it("says how far the price is from the trigger", () => {
    const reason = "drop_too_small";
    expect(distance({ price: 100, trigger_price: 97.5, reason })).toBeCloseTo(-0.025);
    expect(distance({ price: null, trigger_price: 97.5, reason })).toBeNull();
    expect(distance({ price: 100, trigger_price: 102, reason: "volume_low" })).toBeNull();
  });

  it("names who passes every gate before others that are as near", () => {
    const rows = [row("A/USDT", 100, { confidence: 0.4 }), row("B/USDT", 100, { confidence: 0.6 }), row("C/USDT", 100, { reason: "accepted" }), row("D/USDT", null)];
    expect(nearest(rows, 2).map(({ symbol }) => symbol)).toEqual(["C/USDT", "B/USDT"]);
  });
});

describe("rules", () => {
  it("carry their units, and are told once where tiers agree", () => {
    const drop = { large_cap: 0.025, mid_cap: 0.025, small_cap: 0.025, memecoin: 0.025 };
    const told = rules({ drop, breakout: 1.01, volume_factor: 1.3, strict: false });
    expect(told.map(({ label, value }) => [label, value])).toEqual([
      ["fall below the 4 h high", "2.5 %"],
      ["close above resistance", "+1.0 %"],
      ["volume to its 20-bar mean", "1.30 ×"],
      ["strict", "no"],
    ]);
  });

  it("are told tier by tier where tiers differ", () => {
    expect(rules({ drop: { large_cap: 0.02, memecoin: 0.05 } })[0]?.byTier?.map(({ value }) => value)).toEqual(["2.0 %", "5.0 %"]);
  });
});
