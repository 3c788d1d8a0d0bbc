import { describe, expect, it } from "vitest";

import type { Bars } from "$lib/charts/types";

import { choicesOf, drawnStudies, memoryOf, panesNamed, refusedOf, roomFor } from "./studies";

function asked(query: string): ReturnType<typeof choicesOf> {
  const search = new URLSearchParams(query);
  return choicesOf((name) => search.getAll(name));
}

function flat(count: number, length_ms = 60_000): Bars {
  const column = Array.from({ length: count }, () => 100);
  return { times: column.map((_, index) => index * length_ms), open: column, high: column, low: column, close: column, volume: column, length_ms };
}

describe("the address", () => {
  it("names averages, bands and panes with their lengths", () => {
    expect(asked("ema=50&ema=20&sma=200&bands=20&vwap=true&pane=macd&pane=rsi:7")).toEqual([
      { kind: "ema", length: 20 },
      { kind: "ema", length: 50 },
      { kind: "sma", length: 200 },
      { kind: "bands", length: 20 },
      { kind: "vwap", length: 0 },
      { kind: "macd", length: 0 },
      { kind: "rsi", length: 7 },
    ]);
  });

  it("may leave the length of a pane to what is usual, and have each pane once", () => {
    expect(asked("pane=atr&pane=rsi&pane=rsi:21")).toEqual([{ kind: "atr", length: 14 }, { kind: "rsi", length: 14 }]);
  });

  it("means nothing where it has no such indicator or length", () => {
    expect(asked("ema=1&ema=401&ema=2.5&sma=x&bands=&vwap=1&pane=cci:20&pane=rsi:0&pane=rsi:14:3&ema=20&ema=20")).toEqual([
      { kind: "ema", length: 20 },
      { kind: "rsi", length: 14 },
    ]);
  });

  it("gets the panes back as it named them", () => {
    expect(panesNamed(asked("pane=rsi:21&ema=20&pane=macd&pane=atr"))).toEqual(["rsi:21", "macd", "atr:14"]);
  });
});

describe("what an address asks for and cannot have", () => {
  function refused(query: string): ReturnType<typeof refusedOf> {
    const search = new URLSearchParams(query);
    return refusedOf((name) => search.getAll(name), ["1m", "1h"]);
  }

  it("is told with what is allowed, and the rest of the address stays", () => {
    expect(refused("ema=9999&ema=20&pane=foo&pane=rsi&tf=7h")).toEqual({
      words: "Not drawn: timeframe 7h, EMA 9999, pane foo; timeframes are 1m, 1h; lengths go from 2 to 400; panes are rsi, atr, macd",
      rest: { tf: null, ema: ["20"], pane: ["rsi"] },
    });
  });

  it("says once what lengths there are", () => {
    expect(refused("ema=1&bands=x&pane=rsi:900&vwap=1")?.words).toBe(
      "Not drawn: EMA 1, Bollinger bands x, vwap=1, pane rsi:900; lengths go from 2 to 400; VWAP is vwap=true",
    );
    expect(refused("pane=rsi:900&pane=foo")?.words).toBe(
      "Not drawn: pane rsi:900, pane foo; panes are rsi, atr, macd; lengths go from 2 to 400",
    );
  });

  it("is nothing where all of it is drawn", () => {
    expect(refused("ema=20&tf=1h&pane=macd&vwap=true&bands=20&volume=off")).toBeUndefined();
  });
});

describe("what is needed before the first candle in sight", () => {
  it("is the longest memory: a window, five lengths of an EMA, ten of Wilder's, or a day", () => {
    expect(memoryOf(asked(""), 60_000)).toBe(0);
    expect(memoryOf(asked("sma=200&bands=20"), 60_000)).toBe(200);
    expect(memoryOf(asked("sma=200&ema=50"), 60_000)).toBe(250);
    expect(memoryOf(asked("pane=rsi:14"), 60_000)).toBe(140);
    expect(memoryOf(asked("pane=macd"), 60_000)).toBe(175);
    expect(memoryOf(asked("vwap=true&pane=rsi"), 15 * 60_000)).toBe(140);
    expect(memoryOf(asked("vwap=true"), 60_000)).toBe(1_440);
  });
});

describe("what is drawn", () => {
  it("has its name with its lengths, and a value for each candle", () => {
    const drawn = drawnStudies(asked("sma=20&ema=20&bands=20&vwap=true&pane=rsi:7&pane=atr&pane=macd"), flat(50));
    expect(drawn.map(({ words }) => words)).toEqual([
      "EMA 20",
      "SMA 20",
      "Bollinger 20, 2",
      "VWAP day",
      "RSI 7",
      "ATR 14",
      "MACD 12, 26, 9",
    ]);
    expect(drawn.map(({ pane }) => pane !== undefined)).toEqual([false, false, false, false, true, true, true]);
    expect(drawn.flatMap(({ curves }) => curves.map(({ values }) => values.length))).toEqual(Array.from({ length: 11 }, () => 50));
  });

  it("of one length has one colour, and tells plain averages from exponential ones by their dashes", () => {
    const [exponential, plain] = drawnStudies(asked("sma=50&ema=50"), flat(3)).flatMap(({ curves }) => curves);
    expect(plain?.ink).toBe(exponential?.ink);
    expect([plain?.dash, exponential?.dash]).toEqual(["dashed", "solid"]);
  });

  it("has no price of the day on bars of a day", () => {
    expect(drawnStudies(asked("vwap=true"), flat(3, 86_400_000))).toEqual([]);
  });

  it("has a line for each day", () => {
    const [curve] = drawnStudies(asked("vwap=true"), flat(5, 43_200_000)).flatMap(({ curves }) => curves);
    expect([0, 1, 2, 3, 4].map((bar) => curve?.ends?.(bar))).toEqual([false, true, false, true, false]);
  });

  it("has one pane on a narrow screen, the last one chosen", () => {
    const drawn = drawnStudies(asked("ema=20&pane=rsi&pane=macd"), flat(3));
    expect(roomFor(drawn, false)).toHaveLength(3);
    expect(roomFor(drawn, true).map(({ id }) => id)).toEqual(["ema:20", "macd"]);
  });
});
