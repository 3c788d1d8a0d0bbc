import { expect, test } from "vitest";

import type { Trade } from "../../lib/api/types";
import { accepts, DAY_MS, filterOf, isNarrow, orderOf, parameters, spanOf, spelled, toggled, type Address } from "./filter";

function address(search: string): Address {
  const given = new URLSearchParams(search);
  return {
    query: Object.fromEntries([...given.keys()].map((name) => [name, given.getAll(name)[0]])),
    all: (name) => given.getAll(name),
  };
}

const NOON = Date.UTC(2025, 7, 22, 12);

const TRADE: Trade = {
  trade_group_id: "ETH/USDT-DCA-20250820T120000Z",
  symbol: "ETH/USDT",
  strategy: "DCA",
  tier: "mid_cap",
  decision_ms: NOON - 2 * DAY_MS,
  entry_ms: NOON - 2 * DAY_MS,
  exit_ms: NOON - DAY_MS,
  held_ms: DAY_MS,
  entry_price: 100,
  exit_price: 101,
  quantity: 1,
  invested_quote: 100,
  pnl_quote: 0.8,
  return_net: 0.008,
  fee_quote: 0.2,
  slippage_quote: 0,
  exit_reason: "take_profit",
  entry_fills: 1,
  ambiguous: false,
  fallback: false,
  configuration_version: "f744a98dffad",
};

test("an address without a filter wants every trade", () => {
  const filter = filterOf(address(""));
  expect(isNarrow(filter)).toBe(false);
  expect(parameters(filter, spanOf(filter.span, NOON))).toEqual({});
  expect(accepts(filter, {}, TRADE)).toBe(true);
});

test("every part of the filter stands in the address and is asked of the API", () => {
  const filter = filterOf(
    address("symbol=ETH/USDT&symbol=BTC/USDT&strategy=DCA&tier=mid_cap&reason=take_profit&outcome=win&span=7d"),
  );
  expect(isNarrow(filter)).toBe(true);
  expect(parameters(filter, spanOf(filter.span, NOON))).toEqual({
    symbol: ["ETH/USDT", "BTC/USDT"],
    strategy: ["DCA"],
    tier: ["mid_cap"],
    reason: ["take_profit"],
    outcome: "win",
    start_ms: NOON - 7 * DAY_MS,
  });
});

test("what an address can not mean is left out", () => {
  for (const wrong of ["outcome=draw", "span=yesterday", "span=5-4", "span=1-", "span=-3-4", "span=constructor"]) {
    expect(isNarrow(filterOf(address(wrong)))).toBe(false);
  }
});

test("a span of two moments begins with the first and ends before the second", () => {
  const span = spanOf(spelled(NOON - DAY_MS, NOON), 0);
  const filter = filterOf(address(`span=${spelled(NOON - DAY_MS, NOON)}`));
  expect(span).toEqual({ start_ms: NOON - DAY_MS, end_ms: NOON });
  expect(accepts(filter, span, TRADE)).toBe(true);
  expect(accepts(filter, span, { ...TRADE, exit_ms: NOON - DAY_MS - 1 })).toBe(false);
  expect(accepts(filter, span, { ...TRADE, exit_ms: NOON })).toBe(false);
});

test("a trade that has just closed is judged as the server would", () => {
  const judged = (search: string, trade: Partial<Trade> = {}): boolean =>
    accepts(filterOf(address(search)), {}, { ...TRADE, ...trade });
  expect(judged("symbol=BTC/USDT")).toBe(false);
  expect(judged("symbol=BTC/USDT&symbol=ETH/USDT")).toBe(true);
  expect(judged("strategy=SWING")).toBe(false);
  expect(judged("tier=memecoin")).toBe(false);
  expect(judged("reason=stop_loss")).toBe(false);
  expect(judged("reason=stop_loss", { exit_reason: null })).toBe(false);
  expect(judged("outcome=loss")).toBe(false);
  expect(judged("outcome=loss", { pnl_quote: -0.01 })).toBe(true);
  expect(judged("outcome=win", { pnl_quote: 0 })).toBe(false);
  expect(judged("", { exit_ms: null })).toBe(false);
});

test("the order is the newest exit first, unless the address names another", () => {
  expect(orderOf(address(""))).toEqual({ order: "exit_ms", descending: true });
  expect(orderOf(address("sort=pnl_quote"))).toEqual({ order: "pnl_quote", descending: true });
  expect(orderOf(address("sort=-held_ms"))).toEqual({ order: "held_ms", descending: false });
  expect(orderOf(address("sort=-symbol"))).toEqual({ order: "symbol", descending: false });
  expect(orderOf(address("sort=name"))).toEqual({ order: "exit_ms", descending: true });
});

test("a name that is chosen again is chosen no more", () => {
  expect(toggled(["DCA"], "SWING")).toEqual(["DCA", "SWING"]);
  expect(toggled(["DCA", "SWING"], "DCA")).toEqual(["SWING"]);
});
