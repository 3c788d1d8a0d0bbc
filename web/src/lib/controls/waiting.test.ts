import { expect, test } from "vitest";

import type { CommandItem } from "../api/types";
import { saleThatWaits } from "./waiting";

const NOON_MS = 43_200_000;

const SALE: CommandItem = {
  command_id: "a".repeat(32),
  kind: "close",
  arguments: { symbol: "SUI/USDT" },
  actor: "web:anna",
  created_at_ms: 0,
  not_before_ms: null,
  status: "waiting",
  sentence: "nobody trades paper now: it acts when the account is traded again",
  time_ms: null,
};

test("a sale of the symbol that nobody has answered waits", () => {
  const blocked: CommandItem = { ...SALE, kind: "block" };
  expect(saleThatWaits([blocked, SALE], "SUI/USDT", NOON_MS)).toBe(SALE);
  expect(saleThatWaits([blocked, SALE], "ETH/USDT", NOON_MS)).toBeUndefined();
  expect(saleThatWaits([blocked], "SUI/USDT", NOON_MS)).toBeUndefined();
});

test("what was applied, refused or withdrawn waits no more", () => {
  for (const status of ["applied", "refused", "withdrawn"] as const) {
    expect(saleThatWaits([{ ...SALE, status }], "SUI/USDT", NOON_MS)).toBeUndefined();
  }
});

test("a sale for later is in nobody's way before its time has come", () => {
  const later: CommandItem = { ...SALE, not_before_ms: NOON_MS };
  expect(saleThatWaits([later], "SUI/USDT", NOON_MS - 60_000)).toBeUndefined();
  expect(saleThatWaits([later], "SUI/USDT", null)).toBeUndefined();
  expect(saleThatWaits([later], "SUI/USDT", NOON_MS)).toBe(later);
});
