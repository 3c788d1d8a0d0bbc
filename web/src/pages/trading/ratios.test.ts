import { expect, test } from "vitest";

import type { Ratios } from "../../lib/api/types";
import { ofDays } from "./ratios";

const RATIOS: Ratios = {
  days: 30,
  sharpe: 1.234,
  sortino: 2,
  calmar: null,
  volatility: 0.2,
  profit_factor: 1.1,
  expectancy_quote: 3,
  market_change: 0,
  note: null,
};

test("a year made of a few days is not shown as one", () => {
  expect(ofDays("sharpe", { ...RATIOS, days: 3, sharpe: 51.97 })).toEqual({ value: "–", sub: "3 of 30 days" });
  expect(ofDays("sharpe", { ...RATIOS, days: 29 }).value).toBe("–");
  expect(ofDays("sharpe", RATIOS)).toEqual({ value: "1.23", sub: "of 30 days" });
});

test("what does not exist, is not recorded or not known yet is a dash", () => {
  expect(ofDays("calmar", RATIOS)).toEqual({ value: "–", sub: "of 30 days" });
  expect(ofDays("sortino", { ...RATIOS, days: 0, note: "recorded before its equity was kept" }).sub).toBe("days not recorded");
  expect(ofDays("sortino", undefined).value).toBe("–");
});
