import { describe, expect, it } from "vitest";

import { ema } from "./indicators";
import { readable } from "./marks";
import { beside } from "./rulers";

describe("the exponential moving average", () => {
  it("begins with the mean of its first bars and then follows each close by 2 / (length + 1)", () => {
    expect(ema([10, 11, 12, 20, 13.5], 3)).toEqual([null, null, 11, 15.5, 14.5]);
  });

  it("is the close itself over one bar, and nothing where bars are too few", () => {
    expect(ema([3, 5], 1)).toEqual([3, 5]);
    expect(ema([3, 5], 3)).toEqual([null, null]);
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
