import { afterEach, beforeEach, expect, test, vi } from "vitest";

import type { BarNow, Candles } from "$lib/api/types";

import { BarStore } from "./bars.svelte";
import { BARS_MAX } from "./candles";

const { get, Problem } = vi.hoisted(() => ({
  get: vi.fn(),
  Problem: class extends Error {
    readonly passing = true;
  },
}));
vi.mock("$lib/api/client", () => ({ get, Problem }));
vi.mock("$lib/api/live.svelte", () => ({ live: { want: () => () => undefined, on: () => () => undefined } }));
vi.mock("$lib/account.svelte", () => ({ chosen: { id: null } }));

const MINUTE = 60_000;

const seen = new Set<() => void>();
const hidden = { hidden: false };

beforeEach(() => {
  get.mockReset();
  vi.useFakeTimers();
  vi.stubGlobal("window", globalThis);
  hidden.hidden = false;
  vi.stubGlobal("document", Object.assign(hidden, {
    addEventListener: (_: string, heard: () => void) => seen.add(heard),
    removeEventListener: (_: string, heard: () => void) => seen.delete(heard),
  }));
});

afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
  seen.clear();
});

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

function open(store: BarStore, told = true): () => void {
  return store.open("BTC/USDT", "1m", undefined, 0, told);
}

/** Answers every request from now on with all that it asks for, of this close; what was asked for, [first, last]. */
function answersAll(close: number): [number, number][] {
  const spans: [number, number][] = [];
  get.mockImplementation((_, query: { before_ms: number; limit: number }) => {
    const last = query.before_ms / MINUTE - 1;
    spans.push([last - query.limit + 1, last]);
    return Promise.resolve(page(last - query.limit + 1, last, close));
  });
  return spans;
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
  const spans = answersAll(55);
  store.mend(-9_000_000 * MINUTE, 2_400 * MINUTE);
  await vi.advanceTimersByTimeAsync(10_000);
  expect(spans).toEqual([[1400, 2399], [400, 1399], [1, 399]]);
  expect(store.bars.close.indexOf(100)).toBe(2399);
});

test("what comes behind the newest bar, and is too old to be told live, is fetched where the present is shown", async () => {
  const store = new BarStore();
  const first = answered();
  open(store);
  await first(page(10, 40));
  const spans = answersAll(55);
  store.mend(39 * MINUTE, 43 * MINUTE);
  await vi.advanceTimersByTimeAsync(0);
  expect(spans).toEqual([[39, 42]]);
  expect(minutesOf(store)).toEqual(Array.from({ length: 33 }, (_, index) => 10 + index));
  expect(store.bars.close.slice(-5)).toEqual([100, 55, 55, 55, 55]);
});

test("where years come behind the newest bar only the newest of them are fetched", async () => {
  const store = new BarStore();
  const first = answered();
  open(store);
  await first(page(10, 40));
  const newest = answered();
  store.mend(41 * MINUTE, 900_000 * MINUTE);
  await newest(page(900_000, 900_599));
  await vi.advanceTimersByTimeAsync(10_000);
  expect(get).toHaveBeenCalledTimes(2);
  expect([minutesOf(store)[0], minutesOf(store).length]).toEqual([900_000, 600]);
});

test("of a symbol that had no bars the newest are fetched when some are brought", async () => {
  const store = new BarStore();
  const first = answered();
  open(store);
  await first({ ...page(1, 1), time_ms: [] });
  const again = answered();
  store.mend(10 * MINUTE, 20 * MINUTE);
  await again(page(10, 19));
  expect(minutesOf(store)[0]).toBe(10);
  await vi.advanceTimersByTimeAsync(10_000);
  expect(get).toHaveBeenCalledTimes(2);
});

test("when everything is to be fetched anew that is all that is here, and not the newest page alone", async () => {
  const store = new BarStore();
  const first = answered();
  const close = open(store);
  await first({ ...page(1401, 2000), earlier: true });
  let answer = answered();
  store.earlier();
  await answer(page(1, 1400));
  close();
  answer = answered();
  open(store);
  const spans = answersAll(55);
  await answer(page(1401, 2000, 55));
  await vi.advanceTimersByTimeAsync(10_000);
  expect(spans).toEqual([[401, 1400], [1, 400]]);
  expect(store.bars.close).toEqual(Array.from({ length: 2000 }, () => 55));
});

test("where the newest page is all that is here nothing more is fetched anew", async () => {
  const store = new BarStore();
  let answer = answered();
  const close = open(store);
  await answer(page(1401, 2000));
  close();
  answer = answered();
  open(store);
  await answer(page(1401, 2001));
  await vi.advanceTimersByTimeAsync(10_000);
  expect(get).toHaveBeenCalledTimes(2);
});

/** A chart that looks at the past: the bars 600 to 1199 of 5,000. */
async function past(store: BarStore): Promise<() => void> {
  const answer = answered();
  const close = store.open("BTC/USDT", "1m", 1000 * MINUTE, 5000 * MINUTE, true);
  await answer({ ...page(600, 1199), until_ms: 5000 * MINUTE });
  expect(store.present).toBe(false);
  return close;
}

test("a chart that looks at the past fetches what is here anew, and not the present", async () => {
  const store = new BarStore();
  (await past(store))();
  const spans = answersAll(55);
  store.open("BTC/USDT", "1m", 1000 * MINUTE, 5000 * MINUTE, true);
  await vi.advanceTimersByTimeAsync(10_000);
  expect(spans).toEqual([[600, 1199]]);
  expect(store.bars.close).toEqual(Array.from({ length: 600 }, () => 55));
  expect(store.present).toBe(false);
});

test("a chart of the past that was closed while it waited for an answer goes on when it is opened again", async () => {
  const store = new BarStore();
  const close = await past(store);
  const late = answered();
  store.mend(700 * MINUTE, 720 * MINUTE);
  close();
  await late(page(700, 719, 44));
  expect(store.bars.close).not.toContain(44);
  store.open("BTC/USDT", "1m", 1000 * MINUTE, 5000 * MINUTE, true);
  answersAll(55);
  await vi.advanceTimersByTimeAsync(10_000);
  expect(store.bars.close[100]).toBe(55);
  const answer = answered();
  store.later();
  await answer({ ...page(1200, 2199), until_ms: 5000 * MINUTE });
  expect(minutesOf(store).at(-1)).toBe(2199);
});

test("while the stream does not tell of the bars nothing is fetched, and what is owed is not forgotten", async () => {
  const store = new BarStore();
  const close = await past(store);
  get.mockImplementationOnce(() => new Promise(() => undefined));
  store.mend(700 * MINUTE, 720 * MINUTE);
  close();
  const silent = store.open("BTC/USDT", "1m", 1000 * MINUTE, 5000 * MINUTE, false);
  await vi.advanceTimersByTimeAsync(10_000);
  expect(get).toHaveBeenCalledTimes(2);
  silent();
  answersAll(55);
  store.open("BTC/USDT", "1m", 1000 * MINUTE, 5000 * MINUTE, true);
  await vi.advanceTimersByTimeAsync(10_000);
  expect(store.bars.close[100]).toBe(55);
});

test("a span whose answer does not come is asked for again, and nothing else before it", async () => {
  const store = new BarStore();
  const answer = answered();
  open(store);
  await answer({ ...page(10, 40), earlier: true });
  get.mockImplementationOnce(() => Promise.reject(new Problem("the server is away")));
  store.mend(20 * MINUTE, 22 * MINUTE);
  await vi.advanceTimersByTimeAsync(100);
  expect(store.problem).toBeDefined();
  const spans = answersAll(55);
  store.earlier();
  store.mend(30 * MINUTE, 32 * MINUTE);
  expect(spans).toEqual([]);
  await vi.advanceTimersByTimeAsync(10_000);
  expect(spans).toEqual([[20, 21], [30, 31]]);
  expect(store.problem).toBeUndefined();
});

test("what is mended while a mended span is under way is fetched behind it, and nothing of either is lost", async () => {
  const store = new BarStore();
  let answer = answered();
  open(store);
  await answer(page(1, 2500));
  answer = answered();
  store.mend(100 * MINUTE, 2_000 * MINUTE);
  store.mend(1_990 * MINUTE, 2_100 * MINUTE);
  const spans = answersAll(55);
  await answer(page(1000, 1999, 44));
  await vi.advanceTimersByTimeAsync(10_000);
  expect(spans).toEqual([[100, 999], [1990, 2099]]);
  expect(store.bars.close.slice(1988, 1991)).toEqual([44, 55, 55]);
});

test("however often bars are mended in a row, they are fetched once in a second at most, and the last time too", async () => {
  const store = new BarStore();
  const answer = answered();
  open(store);
  await answer(page(1, 2500));
  const spans = answersAll(55);
  for (let moment = 0; moment < 50; moment += 1) {
    store.mend((100 + moment) * MINUTE, (101 + moment) * MINUTE);
    await vi.advanceTimersByTimeAsync(100);
  }
  await vi.advanceTimersByTimeAsync(2_000);
  expect(spans.length).toBeGreaterThan(3);
  expect(spans.length).toBeLessThanOrEqual(6);
  expect(store.bars.close.slice(98, 150)).toEqual([100, ...Array.from({ length: 50 }, () => 55), 100]);
});

test("a page that nobody sees fetches what was mended when it is seen again", async () => {
  const store = new BarStore();
  const answer = answered();
  const close = open(store);
  await answer(page(10, 40));
  const spans = answersAll(55);
  hidden.hidden = true;
  store.mend(20 * MINUTE, 22 * MINUTE);
  store.mend(30 * MINUTE, 32 * MINUTE);
  await vi.advanceTimersByTimeAsync(10_000);
  expect(spans).toEqual([]);
  hidden.hidden = false;
  for (const heard of seen) heard();
  await vi.advanceTimersByTimeAsync(0);
  expect(spans).toEqual([[20, 31]]);
  close();
  expect(seen.size).toBe(0);
});

test("another timeframe has the moment at which what was in sight ended, and the newest bars where these were", async () => {
  const store = new BarStore();
  const asked = (): unknown => get.mock.lastCall?.[1];
  let answer = answered();
  const stop = open(store);
  await answer(page(1, 3_000));
  store.see(2_500.9); // part of a bar more is in sight
  expect(store.place).toBe(2_502 * MINUTE);
  stop();
  answered();
  store.open("BTC/USDT", "5m", undefined, 90_000 * MINUTE, true)();
  expect(asked()).toMatchObject({ timeframe: "5m", before_ms: (2_502 + 200 * 5) * MINUTE });
  const other = new BarStore();
  answer = answered();
  open(other);
  await answer(page(1, 3_000));
  other.see(3_010);
  expect(other.place).toBe(Infinity);
  answered();
  other.open("BTC/USDT", "5m", 40 * MINUTE, 90_000 * MINUTE, true)();
  expect(asked()).toMatchObject({ timeframe: "5m", before_ms: undefined });
});

test("the same bar at the end of what is in sight keeps the moment of a shorter timeframe", async () => {
  const store = new BarStore();
  const answer = answered();
  open(store);
  await answer(page(1, 10));
  store.place = 5.5 * MINUTE;
  store.see(4);
  expect(store.place).toBe(5.5 * MINUTE);
  store.see(5);
  expect(store.place).toBe(7 * MINUTE);
  answered();
  store.move(undefined);
  expect(store.place).toBeUndefined();
});
