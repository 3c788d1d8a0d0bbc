import { expect, test } from "vitest";

import type { Period } from "../../lib/api/types";
import { spanOfDays } from "../../lib/days";
import { named, scaleOf, slotsOf, SLOTS_MAX } from "./columns";

const SUMS = {
  trades: 1,
  won: 1,
  lost: 0,
  win_rate: 1,
  pnl_quote: 5,
  return_net: 0.01,
  fee_quote: 0,
  slippage_quote: 0,
  profit_factor: null,
} as unknown as Period["sums"];

function period(first: string, last: string = first, zone = "UTC"): Period {
  return { ...spanOfDays(first, last, zone), label: first, sums: SUMS };
}

const at = (text: string): number => Date.parse(`${text}Z`);

test("a day without a trade keeps its place, so that a quiet week can be seen", () => {
  const slots = slotsOf([period("2025-10-24"), period("2025-10-21")], "day", "UTC", 0);
  expect(slots.map((slot) => [slot.name, slot.period !== undefined])).toEqual([
    ["2025-10-21", true],
    ["2025-10-22", false],
    ["2025-10-23", false],
    ["2025-10-24", true],
  ]);
});

test("what is quiet up to now is seen as well", () => {
  const slots = slotsOf([period("2025-10-21")], "day", "UTC", at("2025-10-23T05:00"));
  expect(slots.map((slot) => slot.name)).toEqual(["2025-10-21", "2025-10-22", "2025-10-23"]);
  expect(slotsOf([period("2025-10-21")], "day", "UTC", at("2025-10-22T00:00"))).toHaveLength(1);
});

test("weeks begin on Mondays, months on their first day, whatever the clock does", () => {
  const weeks = slotsOf(
    [period("2025-11-10", "2025-11-16", "America/New_York"), period("2025-10-27", "2025-11-02", "America/New_York")],
    "week",
    "America/New_York",
    0,
  );
  expect(weeks.map((slot) => slot.name)).toEqual(["2025-W44", "2025-W45", "2025-W46"]);
  expect(weeks[2]?.period).toBeDefined();
  const months = slotsOf([period("2026-02-01", "2026-02-28"), period("2025-11-01", "2025-11-30")], "month", "UTC", 0);
  expect(months.map((slot) => slot.name)).toEqual(["2025-11", "2025-12", "2026-01", "2026-02"]);
});

test("of a long time the newest places are shown", () => {
  const slots = slotsOf([period("2025-10-21"), period("2024-01-01")], "day", "UTC", 0);
  expect(slots).toHaveLength(SLOTS_MAX);
  expect(slots.at(-1)?.name).toBe("2025-10-21");
});

test("no period has no place", () => {
  expect(slotsOf([], "day", "UTC", at("2025-10-22T00:00"))).toEqual([]);
});

test("the scale holds everything and zero, with round values at even distances", () => {
  expect(scaleOf([37, -57])).toEqual({ least: -57, most: 37, ticks: [-40, -20, 0, 20] });
  expect(scaleOf([30])).toEqual({ least: 0, most: 30, ticks: [0, 10, 20, 30] });
  expect(scaleOf([12.8, -7]).ticks).toEqual([-5, 0, 5, 10]);
  expect(scaleOf([-0.4]).ticks.map((each) => each.toFixed(1))).toEqual(["-0.4", "-0.3", "-0.2", "-0.1", "0.0"]);
  expect(scaleOf([0])).toMatchObject({ least: 0, most: 1 });
});

test("the newest place is named, and some before it", () => {
  expect(named(3)).toEqual([0, 1, 2]);
  expect(named(12)).toEqual([2, 5, 8, 11]);
});
