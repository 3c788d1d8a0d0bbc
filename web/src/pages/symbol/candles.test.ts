import { describe, expect, it } from "vitest";

import type { BarNow } from "$lib/api/types";
import type { Bars } from "$lib/charts/types";

import { BARS_MAX, appended, isTimeframe, noBars, prepended, withLive } from "./candles";

const MINUTE = 60_000;

function drawn(...minutes: number[]): Bars {
  const column = minutes.map((minute) => 100 + minute);
  return {
    times: minutes.map((minute) => minute * MINUTE),
    open: column,
    high: column,
    low: column,
    close: column,
    volume: column,
    length_ms: MINUTE,
  };
}

function live(minute: number, close: number, closed = false): BarNow {
  const bar = { open: close, high: close, low: close, close, volume: 1, closed };
  return { symbol: "BTC/USDT", timeframe: "1m", time_ms: minute * MINUTE, ...bar };
}

describe("a timeframe of the address", () => {
  it("is one of those that there are", () => {
    expect(["1m", "1d", "2h", "constructor", "toString", undefined].filter(isTimeframe)).toEqual(["1m", "1d"]);
  });
});

describe("pages of bars", () => {
  it("join without a bar twice", () => {
    expect(prepended(drawn(1, 2, 3), drawn(3, 4)).times).toEqual([1, 2, 3, 4].map((minute) => minute * MINUTE));
    expect(appended(drawn(1, 2, 3), drawn(3, 4)).close).toEqual([101, 102, 103, 104]);
  });

  it("stay what they are where nothing comes", () => {
    expect(prepended(noBars(MINUTE), drawn(1, 2)).times).toHaveLength(2);
  });
});

describe("live bars", () => {
  it("replace the bar that grows and add the next one", () => {
    const bars = withLive(drawn(1, 2), [live(2, 150), live(3, 160)]);
    expect(bars.times).toEqual([1, 2, 3].map((minute) => minute * MINUTE));
    expect(bars.close).toEqual([101, 150, 160]);
  });

  it("that came late take their places", () => {
    const bars = withLive(drawn(1, 2, 4, 5), [live(2, 150, true), live(3, 160, true)]);
    expect(bars.times).toEqual([1, 2, 3, 4, 5].map((minute) => minute * MINUTE));
    expect(bars.close).toEqual([101, 150, 160, 104, 105]);
  });

  it("that are older than the last one and did not close, or come before the first, change nothing", () => {
    expect(withLive(drawn(1, 2), [live(1, 150), live(0, 160, true)]).close).toEqual([101, 102]);
  });

  it("never make more than so many bars, and keep the newest", () => {
    let bars = drawn(...Array.from({ length: BARS_MAX - 2 }, (_, minute) => minute));
    for (let minute = BARS_MAX - 2; minute < BARS_MAX + 4; minute += 1) bars = withLive(bars, [live(minute, minute)]);
    expect(bars.times.length).toBeLessThan(BARS_MAX);
    expect(bars.close.at(-1)).toBe(BARS_MAX + 3);
    expect(bars.close).toHaveLength(bars.times.length);
  });
});
