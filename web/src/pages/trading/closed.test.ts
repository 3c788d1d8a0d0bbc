import { expect, test, vi } from "vitest";

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

function under(trades: number): TradePage {
  return { ...page([2, 1], null), sums: { ...SUMS, trades } };
}

async function settled(closed: ClosedTrades): Promise<void> {
  await expect.poll(() => closed.loading, { interval: 1 }).toBe(false);
}

test("the sums are those of the first page, and are counted anew when trades close", async () => {
  const closed = new ClosedTrades();
  closed.restart(async () => under(4), true);
  await settled(closed);
  expect(closed.sums?.trades).toBe(4);
  closed.take([trade(3)]);
  await closed.recount(async () => ({ ...SUMS, trades: 5 }));
  expect(closed.sums?.trades).toBe(5);
  expect(closed.rows.map((each) => each.trade_group_id)).toEqual(["trade 3", "trade 2", "trade 1"]);
});

test("sums that are asked for while a page is under way are those that hold in the end", async () => {
  const closed = new ClosedTrades();
  let answer: (page: TradePage) => void = () => undefined;
  closed.restart(() => new Promise((resolve) => (answer = resolve)), true);
  await closed.recount(async () => ({ ...SUMS, trades: 5 }));
  answer(under(4));
  await expect.poll(() => closed.sums?.trades).toBe(5);
});

test("sums that were asked for before the page are dropped", async () => {
  const closed = new ClosedTrades();
  closed.restart(async () => under(4), true);
  await settled(closed);
  let late: (sums: Sums) => void = () => undefined;
  const old = closed.recount(() => new Promise((resolve) => (late = resolve)));
  closed.restart(async () => under(6), false);
  await settled(closed);
  late({ ...SUMS, trades: 99 });
  await old;
  expect(closed.sums?.trades).toBe(6);
});
