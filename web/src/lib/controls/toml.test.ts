import { expect, test } from "vitest";

import type { ConfigurationChange, ConfigurationValue } from "../api/types";
import { fileOf, namedIn, parted, partsOf, written } from "./toml";

test("values are written as a configuration file has them", () => {
  expect(written("UTC")).toBe('"UTC"');
  expect(written({ large_cap: 0.04, on: true })).toBe("{large_cap = 0.04, on = true}");
  expect([0.1, -2, 1e-7, 1e-10, -2.5e-8, 1e21].map(written)).toEqual(["0.1", "-2", "0.0000001", "0.0000000001", "-0.000000025", "1e+21"]);
  expect(written([{ "BTC/USD": 1 }])).toBe('[{"BTC/USD" = 1}]');
});

test("a name in quotes is one part of its key", () => {
  expect(partsOf('instruments."BTC/USD".tick')).toEqual(["instruments", "BTC/USD", "tick"]);
  expect(partsOf("limits.max_open")).toEqual(["limits", "max_open"]);
});

test("a file names what it sets, under its sections", () => {
  const toml = [
    'zone = "a = b # c"  # x = y',
    "[limits]",
    "max_open = 20",
    '[instruments."BTC/USD"]',
    "tick = 0.1",
    "[strategies]",
    "DCA.levels = 3",
    "on = [",
    '  "DCA", # not = a key',
    "]",
    "drop = {large_cap = 0.02}",
  ].join("\n");
  expect(namedIn(toml)).toEqual([
    ["zone"],
    ["limits", "max_open"],
    ["instruments", "BTC/USD", "tick"],
    ["strategies", "DCA", "levels"],
    ["strategies", "on"],
    ["strategies", "drop"],
  ]);
});

test("changes are parted into what the file names and what falls back because it is left out", () => {
  const changes: ConfigurationChange[] = [
    { key: "limits.max_open", old: 50, new: 20 },
    { key: "limits.max_share", old: 0.4, new: 0.5 },
    { key: "exits.drop.large_cap", old: 0.1, new: 0.2 },
  ];
  const found = parted(changes, "exits.drop = {large_cap = 0.2}\n[limits]\nmax_open = 20");
  expect(found.named.map((change) => change.key)).toEqual(["limits.max_open", "exits.drop.large_cap"]);
  expect(found.reset.map((change) => change.key)).toEqual(["limits.max_share"]);
});

test("the present configuration is written as a file of what differs from the defaults", () => {
  const value = (key: string, value: unknown, changed = true): ConfigurationValue => ({ key, value, default: 0, changed });
  const values = [
    value("limits.max_open", 20),
    value("limits.max_new", 3, false),
    value("limits.day", 0.5),
    value('instruments."BTC/USD".tick', 0.1),
    value("name", "x"),
  ];
  const file = fileOf(values);
  expect(file).toBe('name = "x"\n\n[limits]\nmax_open = 20\nday = 0.5\n\n[instruments."BTC/USD"]\ntick = 0.1\n');
  expect(namedIn(file)).toHaveLength(4);
});
