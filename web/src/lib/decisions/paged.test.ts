import { afterEach, beforeEach, expect, test, vi } from "vitest";

import type { Listed } from "../api/types";
import { Paged } from "./paged.svelte";

vi.mock("../account.svelte", () => ({ chosen: { id: null } }));

const LIMIT = 100;

beforeEach(() => void vi.stubGlobal("window", globalThis));
afterEach(() => void vi.unstubAllGlobals());

/** A server with ever more decisions, numbered from 1; a cursor is the number that the page before ended with. */
class Server {
  newest = LIMIT;
  readonly fetch = async (cursor: string | null): Promise<Listed<number>> => {
    const first = cursor === null ? this.newest : Number(cursor) - 1;
    const last = Math.max(1, first - LIMIT + 1);
    const items = Array.from({ length: first - last + 1 }, (_, index) => first - index);
    return { items, next: last > 1 ? String(last) : null, total: this.newest };
  };
}

function all(newest: number): number[] {
  return Array.from({ length: newest }, (_, index) => newest - index);
}

async function settled(list: Paged<number>): Promise<void> {
  await expect.poll(() => list.loading, { interval: 1 }).toBe(false);
}

test("rows that come while the first page is under way stay on top of it", async () => {
  const list = new Paged<number>(String);
  let answer: (page: Listed<number>) => void = () => undefined;
  list.restart(() => new Promise((resolve) => (answer = resolve)), true);
  list.take([3, 4]);
  expect(list.rows).toEqual([4, 3]);
  list.take([5]);
  answer({ items: [3, 2, 1], next: null, total: 3 });
  await settled(list);
  expect(list.rows).toEqual([5, 4, 3, 2, 1]);
  expect(list.total).toBe(5);
});

test("a page that is asked for again does not take away what came since", async () => {
  const list = new Paged<number>(String);
  list.restart(async () => ({ items: [2, 1], next: null }), true);
  await settled(list);
  let answer: (page: Listed<number>) => void = () => undefined;
  list.restart(() => new Promise((resolve) => (answer = resolve)), false);
  list.take([3]);
  answer({ items: [2, 1], next: null });
  await settled(list);
  expect(list.rows).toEqual([3, 2, 1]);
});

test("thousands of live rows are held in bounds, and scrolling joins the others without a gap", async () => {
  const server = new Server();
  const list = new Paged<number>(String);
  list.restart(server.fetch, true);
  await settled(list);
  let most = 0;
  while (server.newest < 6_000) {
    list.take([server.newest + 1, server.newest + 2]);
    server.newest += 2;
    most = Math.max(most, list.rows.length);
  }
  expect(most).toBeLessThanOrEqual(2_100);
  expect(list.total).toBe(6_000);
  for (let page = 0; page < 70; page += 1) {
    list.more();
    await settled(list);
  }
  expect(list.rows).toEqual(all(6_000));
});
