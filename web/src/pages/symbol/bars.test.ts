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
