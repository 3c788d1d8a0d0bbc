import { afterEach, beforeEach, expect, test, vi } from "vitest";

import type { BarNow, Candles } from "$lib/api/types";

import { BarStore } from "./bars.svelte";
import { BARS_MAX } from "./candles";

const get = vi.hoisted(() => vi.fn());
vi.mock("$lib/api/client", () => ({ get, Problem: class extends Error {} }));
vi.mock("$lib/api/live.svelte", () => ({ live: { want: () => () => undefined, on: () => () => undefined } }));

const MINUTE = 60_000;

beforeEach(() => get.mockReset());
afterEach(() => void vi.unstubAllGlobals());

/** The bars [first, last] in minutes, as the API answers them; the account stands behind the last. */
function page(first: number, last: number, close = 100): Candles {
  const minutes = Array.from({ length: last - first + 1 }, (_, index) => first + index);
  const column = minutes.map(() => close);
  const columns = { open: column, high: column, low: column, close: column, volume: column };
  const time_ms = minutes.map((minute) => minute * MINUTE);
  return { time_ms, ...columns, earlier: false, until_ms: (last + 1) * MINUTE, provider: "made up" } as unknown as Candles;
}

function live(minute: number, close: number): BarNow {
  const bar = { open: close, high: close, low: close, close, volume: 1, closed: false };
  return { symbol: "BTC/USDT", timeframe: "1m", time_ms: minute * MINUTE, ...bar };
}

function answered(): (page: Candles) => Promise<void> {
  let answer: (page: Candles) => void = () => undefined;
  get.mockImplementationOnce(() => new Promise((resolve) => (answer = resolve)));
  return async (found) => {
    answer(found);
    await Promise.resolve();
    await Promise.resolve();
  };
}

function open(store: BarStore, told = true): void {
  store.open("BTC/USDT", "1m", undefined, 0, told);
}

function minutesOf(store: BarStore): number[] {
  return store.bars.times.map((time) => time / MINUTE);
}

test("nothing is fetched before the stream tells of the bars", () => {
  const store = new BarStore();
  open(store, false);
  expect(get).not.toHaveBeenCalled();
  expect(store.loading).toBe(true);
});

test("bars that come while the first page is under way follow it", async () => {
  const store = new BarStore();
  const answer = answered();
  open(store);
  store.take([live(3, 7)]);
  store.take([live(3, 8), live(4, 9)]);
  await answer(page(1, 3));
  expect(minutesOf(store)).toEqual([1, 2, 3, 4]);
  expect(store.bars.close).toEqual([100, 100, 8, 9]);
});

test("a page that is fetched again takes no newer bar away", async () => {
  const store = new BarStore();
  let answer = answered();
  open(store);
  await answer(page(1, 3));
  store.take([live(4, 5)]);
  answer = answered();
  open(store);
  store.take([live(5, 6)]);
  await answer(page(1, 3));
  expect(minutesOf(store)).toEqual([1, 2, 3, 4, 5]);
});

test("bars that were let go of can be scrolled back to", async () => {
  const store = new BarStore();
  let answer = answered();
  open(store);
  await answer(page(1, BARS_MAX));
  store.earlier();
  expect(get).toHaveBeenCalledTimes(1);
  store.take([live(BARS_MAX + 1, 5)]);
  const first = minutesOf(store)[0] ?? 0;
  expect(first).toBeGreaterThan(1);
  answer = answered();
  store.earlier();
  expect(get).toHaveBeenCalledTimes(2);
  await answer(page(1, first - 1));
  expect(minutesOf(store)[0]).toBe(1);
  expect(store.bars.times).toHaveLength(BARS_MAX + 1);
  store.take([live(BARS_MAX + 2, 5)]); // what somebody scrolled to is not taken away
  expect(minutesOf(store)[0]).toBe(1);
});

test("of bars that were mended further back only the span is fetched again, and what is here around it stays", async () => {
  const store = new BarStore();
  const first = answered();
  open(store);
  await first(page(10, 40));
  const again = answered();
  store.mend(20 * MINUTE, 22 * MINUTE);
  store.take([live(41, 7)]);
  expect(get).toHaveBeenLastCalledWith("pair_candles", { symbol: "BTC/USDT", timeframe: "1m", before_ms: 22 * MINUTE, limit: 2 });
  await again(page(19, 21, 55)); // where the bar at 20 was missing the page reaches further back
  expect(get).toHaveBeenCalledTimes(2);
  expect(minutesOf(store)).toEqual(Array.from({ length: 32 }, (_, index) => 10 + index));
  expect(store.bars.close.slice(8, 13)).toEqual([100, 100, 55, 55, 100]);
  expect(store.bars.close.at(-1)).toBe(7);
});

test("what is mended while bars are under way is fetched behind them, as one span, and no more than is here", async () => {
  const store = new BarStore();
  const first = answered();
  open(store);
  store.mend(2 * MINUTE, 5 * MINUTE);
  store.mend(12 * MINUTE, 14 * MINUTE);
  const again = answered();
  await first(page(10, 40));
  expect(get).toHaveBeenCalledTimes(2);
  expect(get).toHaveBeenLastCalledWith("pair_candles", { symbol: "BTC/USDT", timeframe: "1m", before_ms: 14 * MINUTE, limit: 4 });
  await again({ ...page(10, 13, 55), earlier: true });
  expect(store.bars.close.slice(0, 5)).toEqual([55, 55, 55, 55, 100]);
  const before = answered();
  store.earlier();
  await before(page(2, 9, 33));
  expect(minutesOf(store)[0]).toBe(2); // there were none before the first until they were mended
});

test("a span of years is fetched in pages, from its end on", async () => {
  const store = new BarStore();
  const first = answered();
  open(store);
  await first(page(1, 2500));
  const spans: unknown[] = [];
  for (let requests = 0; requests < 3; requests += 1)
    get.mockImplementationOnce((_, query: { before_ms: number; limit: number }) => {
      const last = query.before_ms / MINUTE - 1;
      spans.push([last - query.limit + 1, last]);
      return Promise.resolve(page(last - query.limit + 1, last, 55));
    });
  store.mend(-9_000_000 * MINUTE, 2_400 * MINUTE);
  await vi.waitFor(() => expect(store.bars.close[0]).toBe(55));
  expect(spans).toEqual([[1400, 2399], [400, 1399], [1, 399]]);
  expect(store.bars.close.indexOf(100)).toBe(2399);
});
