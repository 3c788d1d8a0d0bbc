import { describe, expect, it } from "vitest";

import type { Mark } from "$lib/api/types";
import type { Bars } from "$lib/charts/types";

import { drawnLevels, drawnMarks, drawnTrips, nearestOf } from "./overlay";

const MINUTE = 60_000;
const times = [0, 15, 30, 45].map((minute) => minute * MINUTE);
const flat = times.map(() => 100);
const bars: Bars = { times, open: flat, high: flat, low: flat, close: flat, volume: flat, length_ms: 15 * MINUTE };

function mark(side: "buy" | "sell", minute: number, price: number, more: Partial<Mark> = {}): Mark {
  return {
    time_ms: minute * MINUTE,
    side,
    kind: side === "buy" ? "entry_market" : "exit",
    rung: 0,
    price,
    quote: 100,
    strategy: "DCA",
    trade_group_id: "a",
    exit_reason: side === "sell" ? "take_profit" : null,
    pnl_quote: side === "sell" ? 4.2 : null,
    ...more,
  };
}

describe("fills", () => {
  it("stand on the bar of their minute, with what the trade made", () => {
    const drawn = drawnMarks([mark("buy", 16, 100), mark("buy", 20, 98, { rung: 1 }), mark("sell", 44, 104)], bars);
    expect(drawn.map(({ bar, kind, tone, words }) => [bar, kind, tone, words])).toEqual([
      [1, "buy", "accent", "DCA"],
      [1, "rung", "accent", ""],
      [2, "sell", "up", "+4.20"],
    ]);
  });

  it("outside the bars are not drawn", () => {
    expect(drawnMarks([mark("buy", -1, 100), mark("sell", 60, 100)], bars)).toEqual([]);
  });

  it("of one trade are joined from the average of its buys", () => {
    const drawn = drawnTrips([mark("buy", 0, 100), mark("buy", 15, 50, { rung: 1 }), mark("sell", 45, 70)], bars);
    expect(drawn).toEqual([{ from: 0, to: 3, from_price: 200 / 3, to_price: 70, tone: "up" }]);
  });

  it("of a trade that is still open are not joined", () => {
    expect(drawnTrips([mark("buy", 0, 100)], bars)).toEqual([]);
  });
});

describe("levels", () => {
  const level = { time_ms: [15 * MINUTE, 30 * MINUTE], price: [101, 102], straight: null };
  const strategies = [
    { strategy: "DCA", lines: [{ ...level, name: "4 h high", kind: "other" as const }] },
    {
      strategy: "CHANNEL",
      lines: [
        { ...level, name: "channel upper", kind: "channel_upper" as const },
        { ...level, name: "buy zone", kind: "trigger" as const },
      ],
    },
  ];
  const order = ["DCA", "CHANNEL"];

  it("have the colour of their strategy and stand on the bars", () => {
    const [drawn] = drawnLevels(strategies, bars, order, ["CHANNEL"]);
    expect(drawn).toMatchObject({ words: "CHANNEL upper", colour: 1, dash: "dashed", values: [101, 102, 102, 102] });
  });

  it("that are straight lie between their places, and the newest goes on to the last candle", () => {
    const straight = {
      start_ms: [-15 * MINUTE, 0],
      start_price: [90, 100],
      end_ms: [0, 30 * MINUTE],
      end_price: [91, 102],
    };
    const channel = { strategy: "CHANNEL", lines: [{ ...level, straight, name: "channel upper", kind: "channel_upper" as const }] };
    const [drawn] = drawnLevels([channel], bars, order, ["CHANNEL"]);
    expect(drawn?.straight).toEqual([
      { from: -1.5, to: -0.5, from_price: 90, to_price: 91 },
      { from: -0.5, to: 3.5, from_price: 100, to_price: 104 },
    ]);
  });

  it("of strategies that nobody chose are not drawn", () => {
    expect(drawnLevels(strategies, bars, order, [])).toEqual([]);
  });

  it("name the strategy whose price to wait for is nearest to the close", () => {
    const swing = { strategy: "SWING", lines: [{ ...level, price: [101, 130], name: "breakout", kind: "trigger" as const }] };
    expect(nearestOf([swing, ...strategies], 110)).toBe("CHANNEL");
    expect(nearestOf([swing, ...strategies], 125)).toBe("SWING");
    expect(nearestOf(strategies.slice(0, 1), 110)).toBeUndefined();
    expect(nearestOf(strategies, undefined)).toBeUndefined();
  });
});
