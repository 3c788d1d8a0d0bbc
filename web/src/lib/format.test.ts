import { expect, test } from "vitest";

import * as format from "./format";

test("a sentence has the signs of figures, and keeps its hyphens", () => {
  expect(format.told("a Sharpe ratio of -2.49 (-1 of 2-3 days), 2025-03-01")).toBe(
    "a Sharpe ratio of −2.49 (−1 of 2-3 days), 2025-03-01",
  );
  expect(format.told("the volume is 0.99 x its 20-bar mean; a setup needs 1 x, volume 1.6x, 6 xrp")).toBe(
    "the volume is 0.99 × its 20-bar mean; a setup needs 1 ×, volume 1.6 ×, 6 xrp",
  );
});

test("the moments of a sentence are those of the viewer, like all others on the page", () => {
  const at = Date.UTC(2025, 2, 17, 2, 25);
  expect(format.told("paused by a person since 2025-03-17 02:25 UTC")).toBe(`paused by a person since ${format.whenLocal(at)}`);
  expect(format.told("bars reach from 2025-03-17 02:25 to 2025-03-17 02:26 UTC only")).toBe(
    `bars reach from ${format.whenLocal(at)} to ${format.whenLocal(at + 60_000)} only`,
  );
  expect(format.pieces("paused since 2025-03-17 02:25 UTC: -1 %")).toEqual(["paused since ", at, ": −1 %"]);
});

test("a date without a clock, and a clock without a date, are no moments", () => {
  expect(format.pieces("the file of 2025-03-17, the bar of 14:03 UTC")).toEqual(["the file of 2025-03-17, the bar of 14:03 UTC"]);
});

test("an amount carries two decimals, thousands and a real minus sign", () => {
  expect(format.money(10_055.093)).toBe("10,055.09");
  expect(format.money(-3.5)).toBe("−3.50");
  expect(format.money(12, { signed: true })).toBe("+12.00");
  expect(format.money(1204.5, { unit: "USDT" })).toBe("1,204.50 USDT");
});

test("what rounds to zero has no sign", () => {
  expect(format.money(-0.001, { signed: true })).toBe("0.00");
  expect(format.percent(0.00001, { signed: true })).toBe("0.00 %");
  expect(format.money(-0)).toBe("0.00");
});

test("what is not known is a dash", () => {
  for (const nothing of [null, undefined, Number.NaN, Number.POSITIVE_INFINITY]) {
    expect(format.money(nothing)).toBe("–");
    expect(format.price(nothing)).toBe("–");
    expect(format.percent(nothing)).toBe("–");
    expect(format.quantity(nothing)).toBe("–");
    expect(format.compact(nothing)).toBe("–");
    expect(format.count(nothing)).toBe("–");
    expect(format.duration(nothing)).toBe("–");
    expect(format.ago(nothing)).toBe("–");
    expect(format.whenLocal(nothing)).toBe("–");
    expect(format.whenUtc(nothing)).toBe("–");
  }
});

test("a price shows what moves it, at any size", () => {
  expect(format.price(118_995.5)).toBe("118,995.50");
  expect(format.price(4_312.07)).toBe("4,312.07");
  expect(format.price(187.3)).toBe("187.30");
  expect(format.price(3.14159)).toBe("3.1416");
  expect(format.price(1)).toBe("1.0000");
  expect(format.price(0.5)).toBe("0.5000");
  expect(format.price(0.023_456)).toBe("0.023456");
  expect(format.price(0.000_012_34)).toBe("0.00001234");
  expect(format.price(0.000_012_345_6)).toBe("0.000012346");
  expect(format.price(0)).toBe("0.00");
});

test("a fraction becomes percent", () => {
  expect(format.percent(0.025)).toBe("2.50 %");
  expect(format.percent(-0.1, { digits: 0 })).toBe("−10 %");
  expect(format.percent(0.0213, { signed: true })).toBe("+2.13 %");
});

test("coins lose the zeros at their end", () => {
  expect(format.quantity(0.0421)).toBe("0.0421");
  expect(format.quantity(1_000_000)).toBe("1,000,000");
  expect(format.quantity(12.345_678_9)).toBe("12.3457");
  expect(format.quantity(0)).toBe("0");
});

test("large numbers become short without becoming wrong at their edges", () => {
  expect(format.compact(950)).toBe("950");
  expect(format.compact(12.5)).toBe("12.5");
  expect(format.compact(1_250_000)).toBe("1.25M");
  expect(format.compact(999_999)).toBe("1M");
  expect(format.compact(-4_321)).toBe("−4.32k");
  expect(format.compact(2_400_000_000)).toBe("2.4B");
});

test("durations name their two largest units", () => {
  expect(format.duration(0)).toBe("0 s");
  expect(format.duration(12_000)).toBe("12 s");
  expect(format.duration(45 * 60_000)).toBe("45 min");
  expect(format.duration(2 * 3_600_000 + 5 * 60_000)).toBe("2 h 05 min");
  expect(format.duration(24 * 3_600_000)).toBe("1 d");
  expect(format.duration(76 * 3_600_000)).toBe("3 d 4 h");
  expect(format.duration(-90_000)).toBe("−1 min");
});

test("what lies a month back is a date, not a number of days", () => {
  const now = Date.UTC(2025, 7, 22, 12);
  expect(format.ago(now - 2_000, now)).toBe("now");
  expect(format.ago(now - 42_000, now)).toBe("42 s ago");
  expect(format.ago(now + 5 * 60_000, now)).toBe("in 5 min");
  expect(format.ago(now - 30 * 3_600_000, now)).toBe("30 h ago");
  expect(format.ago(Date.UTC(2025, 4, 2, 12), now)).toBe("2025-05-02");
});

test("times are those of the viewer, with UTC beside them", () => {
  const at = Date.UTC(2025, 7, 22, 12, 3, 9);
  expect(format.whenUtc(at)).toBe("2025-08-22 12:03 UTC");
  expect(format.whenUtc(at, { seconds: true })).toBe("2025-08-22 12:03:09 UTC");
  const shift = new Date(at).getTimezoneOffset() * 60_000;
  const local = new Date(at - shift).toISOString();
  expect(format.whenLocal(at)).toBe(`${local.slice(0, 10)} ${local.slice(11, 16)}`);
});

test("one is not many", () => {
  expect(format.plural(1, "trade")).toBe("1 trade");
  expect(format.plural(1_204, "trade")).toBe("1,204 trades");
  expect(format.plural(0, "entry", "entries")).toBe("0 entries");
});

test("bytes are counted in thousands", () => {
  expect(format.bytes(512)).toBe("512 B");
  expect(format.bytes(1_500_000_000)).toBe("1.5 GB");
  expect(format.bytes(999_999)).toBe("1 MB");
});

test("a date without a clock is that of UTC, wherever one looks from", () => {
  expect(format.dateUtc(Date.UTC(2025, 9, 15))).toBe("2025-10-15");
  expect(format.dateUtc(Date.UTC(2025, 10, 19, 23, 59))).toBe("2025-11-19");
  expect(format.dateUtc(null)).toBe("–");
});
