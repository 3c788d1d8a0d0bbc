/** When the buys of a trade came to what they are, in the minutes that its executions are told in. */

import type { Fill, Order } from "../../lib/api/types";

const MINUTE_MS = 60_000;

/** How long the bars are that a trade was made of: a buy ends at the close of the bar of its last fill. */
function barLength(orders: readonly Order[], fills: readonly Fill[]): number {
  for (const order of orders) {
    if (order.status !== "filled" || order.ended_ms === null) continue;
    const bought = fills.filter((each) => each.exit_reason === null && each.rung === order.rung);
    if (bought.length > 0) return order.ended_ms - Math.max(...bought.map((each) => each.bar_open_ms));
  }
  return MINUTE_MS;
}

/**
 * By its id: the bar in which a buy was filled or ended, by its open, as executions and exits are told. What still
 * waits does so since it was placed.
 */
export function times(orders: readonly Order[], fills: readonly Fill[]): ReadonlyMap<string, number> {
  const length = barLength(orders, fills);
  return new Map(orders.map((each) => [each.order_id, each.ended_ms === null ? each.placed_ms : each.ended_ms - length]));
}
