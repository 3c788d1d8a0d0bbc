import { expect, test } from "vitest";

import { changedFrom, deeper, grewAtEnd } from "./growth";
import type { Bars } from "./types";

const MINUTE = 60_000;

function bars(closes: readonly number[], changed: Partial<Bars> = {}): Bars {
  const times = closes.map((_, index) => index * MINUTE);
  return { times, open: closes, high: closes, low: closes, close: closes, volume: closes, length_ms: MINUTE, ...changed };
}

test("a last bar that grew, and bars behind it, leave all others as they are", () => {
  expect(grewAtEnd(bars([1, 2, 3, 4, 5, 6]), bars([1, 2, 3, 4, 5, 7]))).toBe(true);
  expect(grewAtEnd(bars([1, 2, 3, 4, 5, 6]), bars([1, 2, 3, 4, 5, 6, 7, 8]))).toBe(true);
});

test("any other bar that came late or was mended is another drawing", () => {
  const before = bars([1, 2, 3, 4, 5, 6]);
  expect(grewAtEnd(before, bars([9, 2, 3, 4, 5, 6]))).toBe(false);
  expect(grewAtEnd(before, { ...before, low: [1, 0, 3, 4, 5, 6] })).toBe(false);
  expect(grewAtEnd(before, { ...before, volume: [1, null, 3, 4, 5, 6] })).toBe(false);
  expect(grewAtEnd(bars([1, 3], { times: [0, 2 * MINUTE] }), bars([1, 2, 3]))).toBe(false);
  expect(grewAtEnd(before, { ...before, length_ms: 5 * MINUTE })).toBe(false);
});

test("of a curve only what changed is found", () => {
  const curve = (first: number, ...values: (number | null)[]): { times: number[]; values: (number | null)[] } => ({
    times: values.map((_, index) => first + index),
    values,
  });
  expect(changedFrom(curve(0, null, 2, 3), curve(0, null, 2, 3))).toBe(3);
  expect(changedFrom(curve(0, null, 2, 3), curve(0, null, 2, 4, 5))).toBe(2);
  expect(changedFrom(curve(0, null, 2, 3), curve(0, 1, 2, 3, 4))).toBe(0);
  expect(changedFrom(curve(1, 2, 3), curve(0, 1, 2, 3))).toBe(0);
  expect(changedFrom(curve(0, 1, 2, 3), curve(0, 1, 2))).toBe(0);
});

test("a column further from zero than the one before is deeper, on either side", () => {
  expect([1, 2, 3].map((index) => deeper([1, 2, 1, -3], index))).toEqual([true, false, true]);
});
