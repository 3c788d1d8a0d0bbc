import { expect, test } from "vitest";

import type { ScoreRow } from "../../lib/api/types";
import { bar, state, told, written, verdict } from "./score";

function row(changes: Partial<ScoreRow>): ScoreRow {
  return {
    key: "win_rate",
    name: "Win rate, overall",
    kind: "share",
    value: 0.6,
    low: 0.5,
    high: 0.7,
    n: 120,
    n_min: 100,
    unit: "trades",
    target: 0.52,
    above: true,
    state: "met",
    thin: false,
    sure: false,
    why: "",
    ...changes,
  };
}

test("a share stands on an axis from 0 to 1, a small one on a quarter of it", () => {
  expect(bar(row({}))).toEqual({ value: 0.6, known: true, low: 0.5, high: 0.7, target: 0.52, openLow: false, openHigh: false });
  expect(bar(row({ value: 0.05, low: 0.0, high: 0.2, target: 0.1 })).target).toBeCloseTo(0.4);
});

test("other figures reach as far as they and their target go, and what has no bound goes on", () => {
  const drawn = bar(row({ kind: "number", value: 1.5, low: 0.5, high: null, target: 1.2 }));
  expect(drawn.value).toBeCloseTo(1.5 / 1.62);
  expect([drawn.high, drawn.openHigh, drawn.openLow]).toEqual([1, true, false]);
  const below = bar(row({ kind: "money", value: -50, low: -100, high: 10, target: 0 }));
  expect(below.value).toBeCloseTo((-50 + 108.8) / (18.8 + 108.8));
});

test("without an interval there is a value and nothing around it", () => {
  expect(bar(row({ low: null, high: null })).known).toBe(false);
  expect(bar(row({ value: null })).value).toBeNull();
});

test("figures are written as what they are", () => {
  expect(written(row({}), 0.526, "USDT")).toBe("52.6 %");
  expect(written(row({ kind: "money" }), -1234.4, "USDT")).toBe("−1,234 USDT");
  expect(written(row({ kind: "number", key: "sharpe" }), 1.234, "USDT")).toBe("+1.23");
  expect(written(row({ kind: "number", key: "profit_factor" }), 1.2, "USDT")).toBe("1.20");
});

test("a state says whether chance may have decided, and what is missing", () => {
  expect(state(row({ sure: true })).word).toBe("met");
  expect(state(row({ sure: false })).word).toBe("met, may be chance");
  expect(state(row({ state: "not_met", sure: true })).word).toBe("missed");
  expect(state(row({ state: "not_known", thin: true })).word).toBe("too few yet");
  expect(state(row({ state: "not_known", why: "no trade has closed" }))).toEqual({
    word: "not known",
    tone: "muted",
    hint: "no trade has closed",
  });
});

test("where nothing can be judged yet there is no verdict", () => {
  expect(verdict({ verdict: "optimise", met: 0, not_met: 0 })?.word).toBe("Too early to say");
  expect(verdict({ verdict: "optimise", met: 0, not_met: 1 })?.word).toBe("Optimise");
  expect(verdict({ verdict: null, met: 0, not_met: 0 })).toBeNull();
});

test("the verdict is told without its word and the names that the table has", () => {
  expect(told("Optimise: 3 of 13 targets are met, 1 missed (win_rate.DCA), 9 not known, which is not met (sharpe, uptime).")).toBe(
    "3 of 13 targets are met, 1 missed, 9 not known, which is not met.",
  );
  expect(told("Go on to live preparation: all 13 targets are met, and the gain is more than chance.")).toBe(
    "All 13 targets are met, and the gain is more than chance.",
  );
  expect(told("the account paper has traded no minute yet: let it run first")).toBe(
    "The account paper has traded no minute yet: let it run first",
  );
});
