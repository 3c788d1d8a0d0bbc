import { describe, expect, it } from "vitest";

import { barOf, lastAtOrBefore, levelOnBars, placeOf } from "./align";

const MINUTE = 60_000;

describe("finding a bar", () => {
  const bars = { times: [0, 5, 10, 20].map((minute) => minute * MINUTE), length_ms: 5 * MINUTE };

  it("finds the bar that a moment lies in", () => {
    expect(barOf(bars, 7 * MINUTE)).toBe(1);
    expect(barOf(bars, 10 * MINUTE)).toBe(2);
  });

  it("takes the bar before a hole, and none before the first", () => {
    expect(barOf(bars, 17 * MINUTE)).toBe(2);
    expect(lastAtOrBefore(bars.times, -1)).toBe(-1);
  });
});

describe("where a moment lies", () => {
  const bars = { times: [0, 5, 10, 20].map((minute) => minute * MINUTE), length_ms: 5 * MINUTE };

  it("counts from the middle of a bar to the middle of the next", () => {
    expect([0, 2.5, 5, 7.5].map((minute) => placeOf(bars, minute * MINUTE))).toEqual([-0.5, 0, 0.5, 1]);
  });

  it("stands still in a hole, and goes on before the first bar and behind the last", () => {
    expect([15, 19, 20].map((minute) => placeOf(bars, minute * MINUTE))).toEqual([2.5, 2.5, 2.5]);
    expect([-10, 30].map((minute) => placeOf(bars, minute * MINUTE))).toEqual([-2.5, 4.5]);
  });
});

describe("levels on bars", () => {
  const scans = { time_ms: [15, 30, 45].map((minute) => minute * MINUTE), price: [100, null, 102] };

  it("shows on each bar what stood at its close", () => {
    const bars = { times: [0, 15, 30].map((minute) => minute * MINUTE), length_ms: 15 * MINUTE };
    expect(levelOnBars(bars, scans, 15 * MINUTE)).toEqual([100, null, 102]);
  });

  it("carries a level over finer bars until the next scan", () => {
    const times = Array.from({ length: 10 }, (_, index) => (10 + index * 5) * MINUTE);
    const bars = { times, length_ms: 5 * MINUTE };
    expect(levelOnBars(bars, scans, 15 * MINUTE)).toEqual([100, 100, 100, null, null, null, 102, 102, 102, 102]);
  });

  it("breaks where scans are missing, and lets the last one stand a little longer", () => {
    const times = [15, 30, 45, 60, 75, 90, 105].map((minute) => minute * MINUTE);
    const few = { time_ms: [30 * MINUTE, 75 * MINUTE], price: [100, 101] };
    const bars = { times, length_ms: 15 * MINUTE };
    expect(levelOnBars(bars, few, 15 * MINUTE)).toEqual([100, null, null, 101, 101, 101, 101]);
    const late = { times: [75 + 90].map((minute) => minute * MINUTE), length_ms: 15 * MINUTE };
    expect(levelOnBars(late, few, 15 * MINUTE)).toEqual([null]);
  });

  it("takes the last scan within a coarser bar", () => {
    const bars = { times: [0, 120 * MINUTE], length_ms: 60 * MINUTE };
    expect(levelOnBars(bars, scans, 15 * MINUTE)).toEqual([102, null]);
  });
});
