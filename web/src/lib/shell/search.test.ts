import { expect, test } from "vitest";

import { distance, find, type Found } from "./search";

const entry = (title: string, kind: Found["kind"] = "symbol"): Found => ({ id: title, kind, title, about: "", icon: "search", href: "" });
const entries = ["WBTC/USDT", "BTC/USDT", "ETH/BTC", "BTCB/USDT"].map((title) => entry(title));

test("what begins so comes before what contains it", () => {
  expect(find(entries, "btc", 9).map((found) => found.title)).toEqual(["BTC/USDT", "BTCB/USDT", "ETH/BTC", "WBTC/USDT"]);
});

test("the slash may be left out", () => {
  expect(find(entries, "btcusdt", 9).map((found) => found.title)).toEqual(["BTC/USDT", "WBTC/USDT"]);
});

test("nothing typed shows the first ones as they came", () => {
  expect(find(entries, "  ", 2).map((found) => found.title)).toEqual(["WBTC/USDT", "BTC/USDT"]);
});

test("what does not contain it is not found", () => {
  expect(distance("BTC/USDT", "doge")).toBeUndefined();
  expect(distance("BTC/USDT", "btc/usdt")).toBe(0);
});
