import { describe, expect, it } from "vitest";

import { atr, bollinger, ema, macd, rsi, sma, vwap } from "./indicators";
import { readable } from "./marks";
import { beside } from "./rulers";
import type { Bars } from "./types";

/** Candles of `high, low, close, volume` from a moment on. */
function candles(first_ms: number, length_ms: number, ...rows: (readonly [number, number, number, number | null])[]): Bars {
  return {
    times: rows.map((_, index) => first_ms + index * length_ms),
    open: rows.map(([, , close]) => close),
    high: rows.map(([high]) => high),
    low: rows.map(([, low]) => low),
    close: rows.map(([, , close]) => close),
    volume: rows.map(([, , , volume]) => volume),
    length_ms,
  };
}

/** So many closes that wander about. */
function walk(count: number): number[] {
  return Array.from({ length: count }, (_, index) => 100 + 9 * Math.sin(index / 7) + 4 * Math.sin(index * 2.3));
}

const HALF_DAY = 43_200_000;

describe("the exponential moving average", () => {
  it("begins with the mean of its first bars and then follows each close by 2 / (length + 1)", () => {
    expect(ema([10, 11, 12, 20, 13.5], 3)).toEqual([null, null, 11, 15.5, 14.5]);
  });

  it("is the close itself over one bar, and nothing where bars are too few", () => {
    expect(ema([3, 5], 1)).toEqual([3, 5]);
    expect(ema([3, 5], 3)).toEqual([null, null]);
  });
});

describe("the simple moving average", () => {
  it("is the mean of the last closes, from when there are enough of them on", () => {
    expect(sma([10, 11, 12, 16, 5], 3)).toEqual([null, null, 11, 13, 11]);
    expect(sma([3, 5], 3)).toEqual([null, null]);
  });
});

describe("Bollinger bands", () => {
  it("lie so many population deviations from the mean of the last closes", () => {
    // 1, 3, 1, 3 lie 1 from their mean of 2; of 3, 1, 3, 5 the squares are 0, 4, 0, 4: a variance of 2.
    const bands = bollinger([1, 3, 1, 3, 5], 4, 2);
    expect(bands.middle).toEqual([null, null, null, 2, 3]);
    expect(bands.upper).toEqual([null, null, null, 4, 3 + 2 * Math.SQRT2]);
    expect(bands.lower).toEqual([null, null, null, 0, 3 - 2 * Math.SQRT2]);
  });

  it("have no width where all closes are equal", () => {
    expect(bollinger([7, 7], 2, 2)).toEqual({ upper: [null, 7], middle: [null, 7], lower: [null, 7] });
  });
});

describe("the volume-weighted price of a day", () => {
  it("begins anew at midnight UTC, and knows nothing of a day whose beginning it has not seen", () => {
    const bars = candles(HALF_DAY, HALF_DAY, [9, 9, 9, 5], [12, 9, 9, 2], [14, 12, 13, 4], [21, 19, 20, 1]);
    // Half of the first day; 10 for 2; (10 x 2 + 13 x 4) / 6; the next day 20.
    expect(vwap(bars)).toEqual([null, 10, 12, 20]);
  });

  it("begins with the first candle of a day, also where that of midnight is missing", () => {
    const bars = { ...candles(HALF_DAY, HALF_DAY, [9, 9, 9, 5], [12, 9, 9, 2]), times: [HALF_DAY, 3 * HALF_DAY] };
    expect(vwap(bars)).toEqual([null, 10]);
  });

  it("is not known while nothing was traded, nor behind a volume that is not known", () => {
    const bars = candles(0, HALF_DAY / 2, [9, 9, 9, 0], [6, 6, 6, 1], [9, 9, 9, null], [9, 9, 9, 1], [5, 5, 5, 1]);
    expect(vwap(bars)).toEqual([null, 6, null, null, 5]);
  });
});

describe("the relative strength index", () => {
  it("begins with plain means of gains and losses, and then moves by 1 / length", () => {
    // Gains 2 0 2 0 0 and losses 0 1 0 0 1; means 1, 1.5, 0.75, 0.375 and 0.5, 0.25, 0.125, 0.5625.
    const found = rsi([10, 12, 11, 13, 13, 12], 2);
    expect(found.slice(0, 2)).toEqual([null, null]);
    expect(found.slice(2)).toEqual([100 / 1.5, 150 / 1.75, 75 / 0.875, 40]);
  });

  it("is that of a well-known table of fourteen changes", () => {
    // Gains of 3.34 and losses of 1.40; then a fall of 0.28: 3.34 x 13/14 to 1.40 x 13/14 + 0.28.
    const closes = [44.34, 44.09, 44.15, 43.61, 44.33, 44.83, 45.1, 45.42, 45.84, 46.08, 45.89, 46.03, 45.61, 46.28, 46.28, 46];
    const found = rsi(closes, 14);
    expect(found.slice(0, 14)).toEqual(Array.from({ length: 14 }, () => null));
    expect(found[14]).toBeCloseTo((100 * 3.34) / 4.74, 9);
    expect(found[15]).toBeCloseTo(66.2496, 3);
  });

  it("is 100 where nothing fell, 0 where nothing rose, and nothing where nothing moved", () => {
    expect(rsi([1, 2, 3], 2)[2]).toBe(100);
    expect(rsi([3, 2, 1], 2)[2]).toBe(0);
    expect(rsi([3, 3, 3], 2)).toEqual([null, null, null]);
  });
});

describe("the average true range", () => {
  it("counts gaps from the close before, and has none at the first candle", () => {
    // Ranges of 3 (12 to 9), 1 (11 to 10) and 5 (15 down to the close of 10): 2, then (2 + 5) / 2.
    const bars = candles(0, 60_000, [10, 8, 9, 1], [12, 9, 11, 1], [11, 10, 10, 1], [15, 14, 14.5, 1]);
    expect(atr(bars, 2)).toEqual([null, null, 2, 3.5]);
  });
});

describe("MACD", () => {
  it("is the difference of two averages, followed by a third", () => {
    // EMA 1 is the close; EMA 3 is 4, 7, 9.5, 7.75; EMA 3 of 2, 3, 2.5, -1.75 begins with 2.5.
    const found = macd([2, 4, 6, 10, 12, 6], 1, 3, 3);
    expect(found.line).toEqual([null, null, 2, 3, 2.5, -1.75]);
    expect(found.signal).toEqual([null, null, null, null, 2.5, 0.375]);
    expect(found.histogram).toEqual([null, null, null, null, 0, -2.125]);
  });
});

describe("earlier candles", () => {
  const closes = walk(3_000);

  it("change nothing of what reads a window", () => {
    const later = closes.slice(1_000);
    expect(sma(closes, 200).slice(1_200)).toEqual(sma(later, 200).slice(200));
    expect(bollinger(closes, 20, 2).upper.slice(1_020)).toEqual(bollinger(later, 20, 2).upper.slice(20));
  });

  it("change less than can be seen of what remembers everything", () => {
    const near = (one: readonly (number | null)[], other: readonly (number | null)[], within: number): void => {
      const apart = one.map((value, index) => Math.abs((value ?? NaN) - (other[index] ?? NaN)));
      expect(Math.max(...apart)).toBeLessThan(within);
    };
    const later = closes.slice(1_000);
    near(ema(closes, 200).slice(2_000), ema(later, 200).slice(1_000), 0.001);
    near(rsi(closes, 14).slice(1_140), rsi(later, 14).slice(140), 0.01);
    near(macd(closes, 12, 26, 9).signal.slice(1_175), macd(later, 12, 26, 9).signal.slice(175), 0.001);
  });
});

describe("words at the edge", () => {
  const at = (y: number, width = 60): { y: number; width: number; right: number } => ({ y, width, right: 0 });

  it("stand at their prices, or less than their height away from them", () => {
    const kept = beside([at(100), at(140), at(105)], 600, 400, 15);
    expect(kept.map(({ y, right }) => [y, right])).toEqual([[100, 600], [140, 600], [115, 600]]);
  });

  it("stand to the left of others of their height where that is not enough", () => {
    const kept = beside([at(100), at(100), at(100)], 600, 400, 15);
    expect(kept.map(({ y, right }) => [y, right])).toEqual([[100, 600], [100, 532], [100, 464]]);
  });

  it("are left out where there is no room, and where the pane would cut them", () => {
    expect(beside([at(100, 200), at(101, 200)], 500, 400, 15)).toHaveLength(1);
    expect(beside([at(2), at(399)], 500, 400, 15)).toEqual([]);
  });
});

describe("words at fills", () => {
  it("are written only where no other fill of their side is in the way", () => {
    const marks = [
      { x: 10, width: 40, above: true },
      { x: 100, width: 40, above: true },
      { x: 120, width: 40, above: true },
      { x: 118, width: 40, above: false },
    ];
    expect(readable(marks)).toEqual([true, false, false, true]);
  });

  it("do not count fills without words as words, but keep clear of them", () => {
    expect(readable([{ x: 0, width: 0, above: false }, { x: 50, width: 40, above: false }])).toEqual([false, true]);
  });
});
