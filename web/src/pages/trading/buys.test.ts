import { expect, test } from "vitest";

import type { Fill, Order } from "../../lib/api/types";
import { times } from "./buys";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DECIDED = 100 * HOUR;

function buy(rung: number, status: Order["status"], ended_ms: number | null): Order {
  const kind = rung === 0 ? "market" : "rung";
  const limit_price = rung === 0 ? null : 9.5;
  const order_id = `group/${String(rung)}`;
  return { order_id, kind, rung, quote: 100, limit_price, status, placed_ms: DECIDED, ended_ms, reason: null };
}

function fill(rung: number, bar_open_ms: number, exit_reason: string | null = null): Fill {
  const kind = exit_reason === null ? (rung === 0 ? "entry_market" : "entry_limit") : "exit";
  const amounts = { price: 10, quantity: 10, notional_quote: 100, fee_quote: 0.3, slippage_quote: 0.1 };
  return { kind, rung, bar_open_ms, ...amounts, exit_reason, volume_unknown: false };
}

test("a buy was filled in the minute of its last execution, and an exit cancelled rungs in that of the sale", () => {
  const sold = DECIDED + 90 * MINUTE;
  const orders = [
    buy(0, "filled", DECIDED + MINUTE),
    buy(1, "filled", DECIDED + 49 * MINUTE),
    buy(2, "cancelled", sold + MINUTE),
  ];
  const fills = [
    fill(0, DECIDED),
    fill(1, DECIDED + 47 * MINUTE),
    fill(1, DECIDED + 48 * MINUTE),
    fill(0, sold, "take_profit"),
  ];
  expect([...times(orders, fills)]).toEqual([
    ["group/0", DECIDED],
    ["group/1", DECIDED + 48 * MINUTE],
    ["group/2", sold],
  ]);
});

test("of a run on hours it is the hour, the same for its buys and its executions", () => {
  const sold = DECIDED + 5 * HOUR;
  const orders = [buy(0, "filled", DECIDED + HOUR), buy(1, "cancelled", sold + HOUR)];
  const told = times(orders, [fill(0, DECIDED), fill(0, sold, "stop_loss")]);
  expect([...told.values()]).toEqual([DECIDED, sold]);
});

test("what waits does so since it was placed, and what ended unfilled alone did so in its minute", () => {
  const orders = [buy(0, "open", null), buy(1, "expired", DECIDED + 10 * MINUTE)];
  expect([...times(orders, []).values()]).toEqual([DECIDED, DECIDED + 9 * MINUTE]);
});
