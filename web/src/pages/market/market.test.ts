import { expect, test } from "vitest";

import type { Market, PairItem, Threshold } from "../../lib/api/types";
import { full, ordered, strength } from "./heat";
import { shares } from "./history";
import { condition, meaning, picture } from "./regime";

const RULES: readonly (readonly [string, number, number])[] = [
  ["PANIC", 1, -0.05],
  ["PANIC", 4, -0.1],
  ["CAUTION", 1, -0.03],
  ["CAUTION", 24, -0.03],
  ["EUPHORIA", 1, 0.05],
];

function market(returns: Readonly<Record<number, number | null>>): Market {
  const thresholds: Threshold[] = RULES.map(([regime, hours, limit]) => {
    const now = returns[hours] ?? null;
    return { regime, hours, limit, now, met: now !== null && (limit > 0 ? now >= limit : now <= limit) };
  });
  return { thresholds, condition: "SIDEWAYS", favoured: "CHANNEL" } as unknown as Market;
}

test("zones of a span begin where the rules do and cover the whole axis", () => {
  const { low, high, spans } = picture(market({ 1: 0, 4: 0, 24: 0 }));
  expect([low, high]).toEqual([-0.135, 0.0675]);
  const at = (value: number): number => (value - low) / (high - low);
  const hour = spans[0];
  expect(hour?.zones.map((zone) => [zone.regime, zone.from, zone.to])).toEqual([
    ["PANIC", 0, at(-0.05)],
    ["CAUTION", at(-0.05), at(-0.03)],
    ["NORMAL", at(-0.03), at(0.05)],
    ["EUPHORIA", at(0.05), 1],
  ]);
  expect(spans.map((span) => span.hours)).toEqual([1, 4, 24]);
});

test("the next limit is the nearest one that is not met, in points of the return", () => {
  const spans = picture(market({ 1: 0.034, 4: -0.09, 24: -0.04 })).spans;
  expect(spans[0]?.next?.regime).toBe("EUPHORIA");
  expect(spans[0]?.next?.away).toBeCloseTo(0.016);
  expect(spans[1]?.next?.regime).toBe("PANIC");
  expect(spans[1]?.next?.away).toBeCloseTo(-0.01);
  expect([spans[2]?.met, spans[2]?.next]).toEqual(["CAUTION", null]);
});

test("the strongest rule that is met names the span, and what is beyond the picture stands at its edge", () => {
  const spans = picture(market({ 1: -0.2, 4: null, 24: null })).spans;
  expect([spans[0]?.met, spans[0]?.at, spans[0]?.beyond]).toEqual(["PANIC", 0, true]);
  expect([spans[1]?.at, spans[1]?.next, spans[1]?.met]).toEqual([null, null, null]);
});

test("the name of a zone leaves the place where the marker stands", () => {
  const spans = picture(market({ 1: 0.01, 4: 0, 24: 0 })).spans;
  const normal = spans[0]?.zones.find((zone) => zone.regime === "NORMAL");
  expect(Math.abs((normal?.label ?? 0) - (spans[0]?.at ?? 0))).toBeGreaterThan(0.07);
  const narrow = picture(market({ 1: 0.01, 4: 0, 24: 0 }), 0.15).spans[0];
  expect(narrow?.zones.map((zone) => zone.label !== null)).toEqual([true, false, false, false]);
});

test("a regime says what it means for entries and sizes", () => {
  expect(meaning("PANIC", 0)).toEqual({ entries: "Nothing is bought", sizes: "No new position is opened; exits go on." });
  expect(meaning("NORMAL", 1)).toEqual({ entries: "Setups are bought", sizes: "Sizes are full." });
  expect(meaning("CAUTION", 0.5)).toEqual({ entries: "Setups are bought smaller", sizes: "Sizes are multiplied by 0.50." });
  expect(condition(market({}))).toBe("CHANNEL comes first where room is short");
  expect(condition({ ...market({}), favoured: null })).toBe("no strategy is favoured");
});

test("what no span names was NORMAL, and spans are cut to the time that is asked for", () => {
  const spans = [
    { start_ms: 0, end_ms: 20, regime: "CAUTION" },
    { start_ms: 50, end_ms: 60, regime: "PANIC" },
    { start_ms: 90, end_ms: 130, regime: "CAUTION" },
  ];
  expect(shares(spans, 10, 110)).toEqual([
    { regime: "NORMAL", ms: 60, share: 0.6 },
    { regime: "CAUTION", ms: 30, share: 0.3 },
    { regime: "PANIC", ms: 10, share: 0.1 },
  ]);
  expect(shares([], 5, 5)).toEqual([]);
});

function pair(symbol: string, day: number | null, volume: number | null = null): PairItem {
  return { symbol, return_24h: day, return_1h: null, volume_24h_quote: volume } as unknown as PairItem;
}

test("symbols stand in the order that is asked for, those without a figure last", () => {
  const items = [pair("B/USD", 0.01, 5), pair("A/USD", null, 7), pair("C/USD", 0.04, null)];
  expect(ordered(items, "return_24h").map((each) => each.symbol)).toEqual(["C/USD", "B/USD", "A/USD"]);
  expect(ordered(items, "volume").map((each) => each.symbol)).toEqual(["A/USD", "B/USD", "C/USD"]);
  expect(ordered(items, "name").map((each) => each.symbol)).toEqual(["A/USD", "B/USD", "C/USD"]);
});

test("one wild symbol does not fade the others, and a calm market is not painted strongly", () => {
  const items = Array.from({ length: 20 }, (_, index) => pair(`${index}/USD`, 0.02));
  expect(full([...items, pair("WILD/USD", 0.9)], "return_24h")).toBe(0.02);
  expect(full([pair("A/USD", 0.001)], "return_24h")).toBe(0.01);
  expect([strength(-0.01, 0.02), strength(0.5, 0.02), strength(null, 0.02)]).toEqual([0.5, 1, 0]);
});
