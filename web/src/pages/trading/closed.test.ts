import { expect, test, vi } from "vitest";

import { Problem } from "../../lib/api/client";
import type { Sums, Trade, TradePage } from "../../lib/api/types";
import { ClosedTrades } from "./closed.svelte";

vi.mock("../../lib/account.svelte", () => ({ chosen: { id: null } })); // it reads the address bar

const SUMS: Sums = {
  trades: 4,
  judged: 4,
  wins: 4,
  losses: 0,
  win_rate: 1,
  pnl_quote: 4,
  invested_quote: 400,
  return_on_invested: 0.01,
  gross_profit_quote: 4,
  gross_loss_quote: 0,
  profit_factor: null,
  fee_quote: 0,
  slippage_quote: 0,
  best_quote: 1,
  worst_quote: 1,
  mean_held_ms: 1,
};

function trade(number: number): Trade {
  return { trade_group_id: `trade ${number}`, exit_ms: number } as Trade;
}

function page(numbers: number[], next: string | null): TradePage {
  return { items: numbers.map(trade), next, total: null, sums: SUMS };
}

function ids(closed: ClosedTrades): string[] {
  return closed.rows.map((each) => each.trade_group_id);
}

test("pages follow each other, and what moved between two of them is there once", async () => {
  const asked: (string | null)[] = [];
  const closed = new ClosedTrades();
  await closed.restart(async (_, cursor) => {
    asked.push(cursor);
    return cursor === null ? page([4, 3], "after 3") : page([3, 2, 1], null);
  });
  await closed.more();
  await closed.more();
  expect(asked).toEqual([null, "after 3"]);
  expect(ids(closed)).toEqual(["trade 4", "trade 3", "trade 2", "trade 1"]);
});

test("a slow answer to an older question is dropped", async () => {
  const closed = new ClosedTrades();
  let late: (page: TradePage) => void = () => undefined;
  const first = closed.restart(() => new Promise((resolve) => (late = resolve)));
  await closed.restart(async () => page([9], null));
  late(page([1], null));
  await first;
  expect(ids(closed)).toEqual(["trade 9"]);
  expect(closed.turn).toBe(1);
});

test("new trades stand on top at once, or wait while one reads further down", async () => {
  const closed = new ClosedTrades();
  await closed.restart(async () => page([2, 1], null));
  closed.take([trade(3)], true);
  expect(ids(closed)).toEqual(["trade 3", "trade 2", "trade 1"]);
  closed.take([trade(4), trade(5), trade(3)], false);
  expect(ids(closed)).toEqual(["trade 3", "trade 2", "trade 1"]);
  expect(closed.fresh.map((each) => each.trade_group_id)).toEqual(["trade 5", "trade 4"]);
  closed.unfold();
  expect(ids(closed)).toEqual(["trade 5", "trade 4", "trade 3", "trade 2", "trade 1"]);
  expect(closed.fresh).toEqual([]);
});

test("a page that did not come keeps what is there, and is asked for once more", async () => {
  const closed = new ClosedTrades();
  let broken = true;
  await closed.restart(async (_, cursor) => {
    if (cursor === null) return page([2], "after 2");
    if (broken) throw new Problem(0, "No connection", "The server does not answer.");
    return page([1], null);
  });
  await closed.more();
  expect(closed.problem?.status).toBe(0);
  expect(ids(closed)).toEqual(["trade 2"]);
  broken = false;
  closed.again();
  await expect.poll(() => ids(closed)).toEqual(["trade 2", "trade 1"]);
  expect(closed.problem).toBeUndefined();
});
