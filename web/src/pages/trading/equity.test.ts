import { expect, test } from "vitest";

import { continued, drawdowns, peakBefore, type Curve } from "./equity";

const HOUR = 3_600_000;
const CURVE: Curve = {
  times: [HOUR, 2 * HOUR],
  equity: [10_000, 10_100],
  lows: [9_900, 10_000],
  highs: [10_050, 10_200],
  resolution: HOUR,
};

test("a live point of the last stretch changes its value, its low and its high", () => {
  const curve = continued(CURVE, [{ time_ms: 2.5 * HOUR, equity_quote: 9_950, drawdown: 0 }]);
  expect(curve.times).toEqual([HOUR, 2 * HOUR]);
  expect(curve.equity).toEqual([10_000, 9_950]);
  expect(curve.lows).toEqual([9_900, 9_950]);
  expect(curve.highs).toEqual([10_050, 10_200]);
});

test("a live point beyond the last stretch begins another", () => {
  const curve = continued(CURVE, [{ time_ms: 3 * HOUR, equity_quote: 10_300, drawdown: 0 }]);
  expect(curve.times).toEqual([HOUR, 2 * HOUR, 3 * HOUR]);
  expect(curve.equity).toEqual([10_000, 10_100, 10_300]);
});

test("points that are known already change nothing", () => {
  expect(continued(CURVE, [{ time_ms: 2 * HOUR, equity_quote: 1, drawdown: 0 }])).toBe(CURVE);
});

test("the drawdown counts each stretch's low from the highest equity so far", () => {
  expect(drawdowns(CURVE, 10_000).map((each) => each.toFixed(5))).toEqual(["-0.01493", "-0.01961"]);
  expect(drawdowns(CURVE, 20_000).map((each) => each.toFixed(3))).toEqual(["-0.505", "-0.500"]);
});

test("what is never below its peak has no drawdown", () => {
  const rising: Curve = { ...CURVE, lows: [10_050, 10_200] };
  expect(drawdowns(rising, 0)).toEqual([0, 0]);
});

test("the peak before a span is at least the capital", () => {
  expect(peakBefore(undefined, 10_000, HOUR)).toBe(10_000);
  expect(peakBefore(CURVE, 10_000, HOUR)).toBe(10_050);
  expect(peakBefore(CURVE, 10_000, 2 * HOUR)).toBe(10_200);
});
