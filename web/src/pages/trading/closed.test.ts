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

test("what closes while the first page is under way is not lost to an answer that does not know it", async () => {
  const closed = new ClosedTrades();
  let answer: (page: TradePage) => void = () => undefined;
  const asked = closed.restart(() => new Promise((resolve) => (answer = resolve)));
  closed.take([trade(3)], true);
  closed.take([trade(2), trade(4)], true);
  answer(page([2, 1], null));
  await asked;
  expect(ids(closed)).toEqual(["trade 4", "trade 3", "trade 2", "trade 1"]);
  const again = closed.restart(() => new Promise((resolve) => (answer = resolve)));
  closed.take([trade(5)], true);
  expect(ids(closed)[0]).toBe("trade 5");
  answer(page([4, 3, 2, 1], null));
  await again;
  expect(ids(closed)).toEqual(["trade 5", "trade 4", "trade 3", "trade 2", "trade 1"]);
});

test("sums that are asked for while a page is under way are those that hold in the end", async () => {
  const closed = new ClosedTrades();
  let answer: (page: TradePage) => void = () => undefined;
  const asked = closed.restart(() => new Promise((resolve) => (answer = resolve)));
  await closed.recount(async () => ({ ...SUMS, trades: 5 }));
  answer(page([1], null));
  await asked;
  await expect.poll(() => closed.sums?.trades).toBe(5);
});

test("sums of an older question are dropped", async () => {
  const closed = new ClosedTrades();
  await closed.restart(async () => page([1], null));
  let late: (sums: Sums) => void = () => undefined;
  const old = closed.recount(() => new Promise((resolve) => (late = resolve)));
  await closed.restart(async () => page([1], null));
  late({ ...SUMS, trades: 99 });
  await old;
  expect(closed.sums?.trades).toBe(4);
});

/** A server with ever more trades, numbered from 1; a cursor is the number that the page before ended with. */
class Server {
  newest = 100;
  asked = 0;
  readonly fetch = async (limit: number, cursor: string | null): Promise<TradePage> => {
    this.asked += 1;
    const first = cursor === null ? this.newest : Number(cursor) - 1;
    const last = Math.max(1, first - limit + 1);
    const numbers = Array.from({ length: first - last + 1 }, (_, index) => first - index);
    return page(numbers, last > 1 ? String(last) : null);
  };
}

function all(newest: number): string[] {
  return Array.from({ length: newest }, (_, index) => `trade ${String(newest - index)}`);
}

test("a list that takes thousands of trades keeps some, and scrolling joins the others without a gap", async () => {
  const server = new Server();
  const closed = new ClosedTrades();
  await closed.restart(server.fetch);
  let most = 0;
  while (server.newest < 5_300) {
    server.newest += 1;
    closed.take([trade(server.newest)], true);
    most = Math.max(most, closed.rows.length);
  }
  expect(most).toBeLessThanOrEqual(2_100);
  expect(server.asked).toBe(1);
  for (let step = 0; step < 20; step += 1) await closed.more();
  expect(ids(closed)).toEqual(all(5_300));
});

test("thousands that close while one reads further down wait in few, and are joined when one asks", async () => {
  const server = new Server();
  const closed = new ClosedTrades();
  await closed.restart(server.fetch);
  while (server.newest < 5_000) {
    server.newest += 1;
    closed.take([trade(server.newest)], false);
  }
  expect(closed.waiting).toBe(4_900);
  expect(closed.fresh).toHaveLength(2_000);
  expect(ids(closed)).toEqual(all(100));
  closed.unfold();
  expect(ids(closed)[0]).toBe("trade 5000");
  for (let step = 0; step < 20; step += 1) await closed.more();
  expect(ids(closed)).toEqual(all(5_000));
});
