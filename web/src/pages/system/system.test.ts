import { expect, test } from "vitest";

import type { ConfigurationValue, DataRow, Health, Part } from "../../lib/api/types";
import { sections, within } from "./configuration";
import { ageOf, isTroubled, narrowed } from "./data";
import { grouped, summary } from "./health";

function part(name: string, state: Part["state"] = "ok"): Part {
  return { name, state, sentence: "", advice: null, since_ms: null };
}

function health(...parts: Part[]): Health {
  return { state: parts[0]?.state ?? "ok", parts } as unknown as Health;
}

test("parts stand under what they belong to, in their order, and none is lost", () => {
  const parts = [part("collector kraken", "failing"), part("trader paper"), part("disk"), part("bars 1m kraken"), part("something new")];
  expect(grouped(parts).map((group) => [group.title, group.parts.map((each) => each.name)])).toEqual([
    ["Trading", ["trader paper"]],
    ["Market data", ["collector kraken", "bars 1m kraken"]],
    ["This machine", ["disk", "something new"]],
  ]);
});

test("the whole is told in one sentence", () => {
  expect(summary(health(part("a")))).toBe("All that is meant to run is well");
  expect(summary(health(part("a", "degraded"), part("b")))).toBe("1 part needs a look");
  expect(summary(health(part("a", "failing"), part("b", "failing"), part("c", "degraded")))).toBe("2 parts fail, 1 more needs a look");
  expect(summary(health(part("a", "off")))).toBe("Nothing runs");
});

function row(symbol: string, changes: Partial<DataRow> = {}): DataRow {
  return {
    symbol,
    provider: "kraken",
    newest_ms: { "1m": 1_000, "15m": 400, "1d": null },
    age_ms: 50,
    score: 1,
    doubtful: false,
    quarantined: 0,
    why: null,
    ...changes,
  } as unknown as DataRow;
}

test("the age of a timeframe is seen from the same present as that of the minutes", () => {
  expect(ageOf(row("A/USD"), "15m")).toBe(650);
  expect(ageOf(row("A/USD"), "1d")).toBeNull();
});

test("rows are in trouble where they open nothing, have no bars, or bars are held back", () => {
  expect(isTroubled(row("A/USD"), 0.8)).toBe(false);
  expect(isTroubled(row("A/USD", { score: 0.7 }), 0.8)).toBe(true);
  expect(isTroubled(row("A/USD", { age_ms: null }), 0.8)).toBe(true);
  expect(isTroubled(row("A/USD", { quarantined: 2 }), 0.8)).toBe(true);
  expect(isTroubled(row("A/USD", { score: null }), 0.8)).toBe(false);
});

test("rows are found by symbol and provider", () => {
  const rows = [row("ETH/USD"), row("BTC/USD", { provider: "binance", quarantined: 1 })];
  expect(narrowed(rows, " eth ", false, 0.8).map((each) => each.symbol)).toEqual(["ETH/USD"]);
  expect(narrowed(rows, "binance", false, 0.8).map((each) => each.symbol)).toEqual(["BTC/USD"]);
  expect(narrowed(rows, "", true, 0.8).map((each) => each.symbol)).toEqual(["BTC/USD"]);
});

function value(key: string, changed = false): ConfigurationValue {
  return { key, value: 1, default: 2, changed };
}

test("sections with changed values come first, and in them the changed values", () => {
  const values = [value("limits.max_open"), value("strategies.DCA.drop"), value("strategies.DCA.levels", true), value("top")];
  const found = sections(values, "", false);
  expect(found.map((section) => [section.name, section.changed])).toEqual([
    ["strategies.DCA", 1],
    ["limits", 0],
    ["other", 0],
  ]);
  expect(found[0]?.values.map((each) => within(each.key))).toEqual(["levels", "drop"]);
  expect(sections(values, "dca drop", false).flatMap((section) => section.values.map((each) => each.key))).toEqual(["strategies.DCA.drop"]);
  expect(sections(values, "", true).length).toBe(1);
});

test("names in quotes, of which there are many, make no sections of their own", () => {
  const found = sections([value('instruments."BTC/USD".tick'), value('instruments."ETH/USD".tick')], "", false);
  expect(found.map((section) => section.name)).toEqual(["instruments"]);
  expect(within('instruments."BTC/USD".tick')).toBe('"BTC/USD".tick');
});
