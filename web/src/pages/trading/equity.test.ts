import { expect, test } from "vitest";

import { continued, curveOf, deepest, drawdowns, gapped, isRange, stepped, type Curve } from "./equity";

const HOUR = 3_600_000;
const CURVE: Curve = {
  times: [HOUR, 2 * HOUR],
  equity: [10_000, 10_100],
  lows: [9_900, 10_000],
  highs: [10_050, 10_200],
  falls: [0.01, 0.0098],
  resolution: HOUR,
  peakBefore: 10_000,
  until: 2 * HOUR,
};

function required(curve: Curve | undefined): Curve {
  if (curve === undefined) throw new Error("The points were not taken.");
  return curve;
}

const BEGUN: Curve = { ...CURVE, times: [HOUR, 1.2 * HOUR], until: 1.2 * HOUR };

test("a live point of the last stretch changes its time, its value, its low and its high", () => {
  const curve = required(continued(BEGUN, [{ time_ms: 1.5 * HOUR, equity_quote: 9_950, drawdown: 0 }]));
  expect(curve.times).toEqual([HOUR, 1.5 * HOUR]);
  expect(curve.equity).toEqual([10_000, 9_950]);
  expect(curve.lows).toEqual([9_900, 9_950]);
  expect(curve.highs).toEqual([10_050, 10_200]);
});

test("stretches end at round times, whenever their first point came", () => {
  const first = required(continued(CURVE, [{ time_ms: 2.9 * HOUR, equity_quote: 9_950, drawdown: 0 }]));
  const full = required(continued(first, [{ time_ms: 3 * HOUR, equity_quote: 9_955, drawdown: 0 }]));
  const curve = required(continued(full, [{ time_ms: 3.8 * HOUR, equity_quote: 9_960, drawdown: 0 }]));
  expect(curve.times).toEqual([HOUR, 2 * HOUR, 3 * HOUR, 3.8 * HOUR]);
  expect(curve.equity).toEqual([10_000, 10_100, 9_955, 9_960]);
  expect(curve.until).toBe(3.8 * HOUR);
});

test("a live point beyond the last stretch begins another", () => {
  const curve = required(continued(CURVE, [{ time_ms: 3 * HOUR, equity_quote: 10_300, drawdown: 0 }]));
  expect(curve.times).toEqual([HOUR, 2 * HOUR, 3 * HOUR]);
  expect(curve.equity).toEqual([10_000, 10_100, 10_300]);
});

test("points that are known already change nothing", () => {
  expect(continued(CURVE, [{ time_ms: 2 * HOUR, equity_quote: 1, drawdown: 0 }])).toBe(CURVE);
});

test("points more than a stretch behind the curve are not taken: what is between must be fetched", () => {
  const point = { equity_quote: 10_300, drawdown: 0 };
  expect(continued(CURVE, [{ ...point, time_ms: 29 * HOUR }])).toBeUndefined();
  expect(continued(CURVE, [{ ...point, time_ms: 3 * HOUR + 1 }])).toBeUndefined();
  expect(continued(CURVE, [{ ...point, time_ms: 2 * HOUR }, { ...point, time_ms: 4 * HOUR }])).toBeUndefined();
});

test("where nothing is known nothing stands, as wide as it was long", () => {
  const drawn = gapped([HOUR, 2 * HOUR, 7 * HOUR], [1, 2, 3], HOUR);
  expect(drawn.times).toEqual([1, 2, 3, 4, 5, 6, 7].map((hour) => hour * HOUR));
  expect(drawn.values).toEqual([1, 2, null, null, null, null, 3]);
  expect(gapped([HOUR, 4 * HOUR], [1, 2], HOUR).values).toEqual([1, 2]);
  expect(gapped([0, 27 * HOUR], [1, 2], 60_000).times.length).toBeLessThan(70);
});

test("the drawdown counts the end of each stretch from the highest equity so far", () => {
  const written = (values: number[]): string[] => values.map((each) => each.toFixed(5));
  expect(written(drawdowns(CURVE))).toEqual(["-0.00498", "-0.00980"]);
  expect(written(drawdowns({ ...CURVE, peakBefore: 20_000 }))).toEqual(["-0.50000", "-0.49500"]);
});

test("the deepest of a stretch is not counted from a high that came after it", () => {
  // 10,000 to 9,900, then up to 10,050; 10,000, then up to 10,200 and down to 10,100.
  expect(deepest(CURVE)).toEqual([-0.01, -0.0098]);
  const curve = required(continued(BEGUN, [{ time_ms: 1.5 * HOUR, equity_quote: 9_996, drawdown: 0.02 }]));
  expect(deepest(curve)).toEqual([-0.01, -0.02]);
  const longer = required(continued(curve, [{ time_ms: 2.2 * HOUR, equity_quote: 10_200, drawdown: 0 }]));
  expect(deepest(longer)).toEqual([-0.01, -0.02, 0]);
});

test("what is never below its peak has no drawdown", () => {
  const rising: Curve = { ...CURVE, equity: [10_050, 10_200], falls: [0, 0] };
  expect(drawdowns(rising)).toEqual([0, 0]);
  expect(deepest(rising)).toEqual([0, 0]);
});

test("a span that lies below a peak before it is fallen from there, all the while", () => {
  const answer = {
    account: "paper",
    capital_quote: 10_000,
    resolution_ms: HOUR,
    time_ms: [HOUR, 2 * HOUR],
    equity_quote: [10_500, 10_000],
    low_quote: [10_400, 10_000],
    high_quote: [10_600, 10_500],
    drawdown: [0.0545, 0.0909],
    peak_before_quote: 11_000,
    max_drawdown: 0.0909,
    marked: true,
    note: null,
  };
  expect(drawdowns(curveOf(answer)).map((each) => each.toFixed(4))).toEqual(["-0.0455", "-0.0909"]);
});

test("what moves at its own times only stands still between them, on an even axis", () => {
  const drawn = stepped([1.2 * HOUR, 4 * HOUR], [1, 2], HOUR, 6 * HOUR);
  expect(drawn.times).toEqual([1.2, 2, 3, 4, 5].map((hour) => hour * HOUR));
  expect(drawn.values).toEqual([1, 1, 1, 2, 2]);
});

test("a span of the address is one of those that there are", () => {
  expect(["1d", "all", "toString", "constructor", undefined].map(isRange)).toEqual([true, true, false, false, false]);
});
