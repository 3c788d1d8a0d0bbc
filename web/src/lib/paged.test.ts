import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { Problem } from "./api/client";
import type { Listed } from "./api/types";
import { LIVE_MAX, Paged } from "./paged.svelte";

vi.mock("./account.svelte", () => ({ chosen: { id: null } })); // it reads the address bar

const LIMIT = 100;

beforeEach(() => void vi.stubGlobal("window", globalThis));
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

/** A server with ever more rows, numbered from 1; a cursor is the number that the page before ended with. */
class Server {
  newest = LIMIT;
  readonly asked: (string | null)[] = [];
  /** While it is set, answers wait. */
  gate: Promise<void> | undefined;
  readonly fetch = async (cursor: string | null): Promise<Listed<number>> => {
    this.asked.push(cursor);
    const page = this.#page(cursor);
    await this.gate;
    return page;
  };

  /** The next rows happen, and are told. */
  happen(list: Paged<number>, many = 1): void {
    const rows = Array.from({ length: many }, (_, index) => this.newest + index + 1);
    this.newest += many;
    list.take(rows);
  }

  /** Holds back answers until what is returned is called. */
  hold(): () => Promise<void> {
    let open: () => void = () => undefined;
    this.gate = new Promise((resolve) => (open = resolve));
    return async () => {
      this.gate = undefined;
      open();
      await new Promise((resolve) => setTimeout(resolve));
    };
  }

  #page(cursor: string | null): Listed<number> {
    const first = cursor === null ? this.newest : Number(cursor) - 1;
    const last = Math.max(1, first - LIMIT + 1);
    const items = Array.from({ length: first - last + 1 }, (_, index) => first - index);
    return { items, next: last > 1 ? String(last) : null, total: this.newest };
  }
}

function down(from: number, to = 1): number[] {
  return Array.from({ length: from - to + 1 }, (_, index) => from - index);
}

async function settled(list: Paged<number>): Promise<void> {
  await expect.poll(() => list.loading, { interval: 1 }).toBe(false);
}

async function begun(server: Server): Promise<Paged<number>> {
  const list = new Paged<number>(String);
  list.restart(server.fetch, true);
  await settled(list);
  return list;
}

async function readToTheEnd(list: Paged<number>): Promise<void> {
  for (let page = 0; page < 100; page += 1) {
    list.more();
    await settled(list);
  }
}

test("pages follow each other, and what stands on two of them is there once", async () => {
  const asked: (string | null)[] = [];
  const list = new Paged<number>(String);
  list.restart(async (cursor) => {
    asked.push(cursor);
    return cursor === null ? { items: [4, 3], next: "after 3" } : { items: [3, 2, 1], next: null };
  }, true);
  await settled(list);
  await readToTheEnd(list);
  expect(asked).toEqual([null, "after 3"]);
  expect(list.rows).toEqual([4, 3, 2, 1]);
});

test("a cursor that leads to itself ends the list, which would ask for ever", async () => {
  const asked: (string | null)[] = [];
  const list = new Paged<number>(String);
  list.restart((cursor) => {
    asked.push(cursor);
    return Promise.resolve({ items: [2, 1], next: "again" });
  }, true);
  await settled(list);
  await readToTheEnd(list);
  expect(asked).toEqual([null, "again"]);
  expect(list.rows).toEqual([2, 1]);
});

test("rows that come while the first page is under way stand on top of it", async () => {
  const server = new Server();
  const list = new Paged<number>(String);
  const open = server.hold();
  list.restart(server.fetch, true);
  server.happen(list);
  server.happen(list);
  await open();
  expect(list.rows).toEqual(down(102));
  expect(list.total).toBe(102);
});

test("a page that is asked for again does not take away what came since", async () => {
  const server = new Server();
  const list = await begun(server);
  const open = server.hold();
  list.restart(server.fetch, false);
  server.happen(list, 2);
  expect(list.rows[0]).toBe(102);
  await open();
  expect(list.rows).toEqual(down(102));
});

test("rows of another question are stale until the answer comes, and take no new ones", async () => {
  const server = new Server();
  const list = await begun(server);
  const turn = list.turn;
  let answer: (page: Listed<number>) => void = () => undefined;
  list.restart(() => new Promise((resolve) => (answer = resolve)), true);
  expect(list.stale).toBe(true);
  list.take([2_000]);
  expect(list.rows).toEqual(down(100));
  answer({ items: [1_000], next: null, total: 1 });
  await settled(list);
  expect(list.stale).toBe(false);
  expect(list.rows).toEqual([2_000, 1_000]);
  expect(list.turn).toBe(turn + 1);
});

test("a slow answer to an older question is dropped", async () => {
  const list = new Paged<number>(String);
  let late: (page: Listed<number>) => void = () => undefined;
  list.restart(() => new Promise((resolve) => (late = resolve)), true);
  list.restart(async () => ({ items: [9], next: null }), true);
  await settled(list);
  late({ items: [1], next: null });
  await new Promise((resolve) => setTimeout(resolve));
  expect(list.rows).toEqual([9]);
  expect(list.turn).toBe(1);
});

test("while one reads further down new rows wait, and nothing that is read moves", async () => {
  const server = new Server();
  const list = await begun(server);
  list.reading = true;
  server.happen(list, 3);
  list.take([102]);
  expect(list.rows).toEqual(down(100));
  expect([list.waiting, list.atLeast]).toEqual([3, false]);
  list.unfold();
  await settled(list);
  expect(list.rows).toEqual(down(103, 4));
  expect(list.waiting).toBe(0);
  expect(list.turn).toBe(2);
  await readToTheEnd(list);
  expect(list.rows).toEqual(down(103));
});

test("in an order that is not by time new rows wait, and a page may show them first", async () => {
  const list = new Paged<number>(String);
  list.newestFirst = false;
  list.restart(async (cursor) => (cursor === null ? { items: [7, 5], next: "5" } : { items: [4, 3], next: null }), true);
  await settled(list);
  list.take([4, 6]);
  expect(list.waiting).toBe(2);
  list.more();
  await settled(list);
  expect(list.rows).toEqual([7, 5, 4, 3]);
  expect(list.waiting).toBe(1);
});

test("after a lost connection what is read stays, as it is now, and what was missed waits", async () => {
  interface Row {
    id: number;
    outcome: string;
  }
  const list = new Paged<Row>((row) => String(row.id));
  const page = (ids: number[], outcome: string): Listed<Row> => ({ items: ids.map((id) => ({ id, outcome })), next: null });
  list.restart(async () => page([3, 2, 1], "open"), true);
  await expect.poll(() => list.loading).toBe(false);
  list.reading = true;
  list.restart(async () => page([5, 4, 3], "won"), false);
  await expect.poll(() => list.loading).toBe(false);
  expect(list.rows.map((row) => `${row.id} ${row.outcome}`)).toEqual(["3 won", "2 open", "1 open"]);
  expect([list.waiting, list.atLeast, list.turn]).toEqual([2, false, 1]);
  list.restart(async () => page([9, 8, 7], "won"), false);
  await expect.poll(() => list.loading).toBe(false);
  expect([list.waiting, list.atLeast]).toEqual([5, true]); // between 5 and 7 there may be others
});

test("thousands of rows on top are held in bounds, and scrolling joins the others without a gap", async () => {
  const server = new Server();
  const list = await begun(server);
  let most = 0;
  while (server.newest < 6_000) {
    server.happen(list, 2);
    most = Math.max(most, list.rows.length);
    if (list.loading) await settled(list);
  }
  expect(most).toBeLessThanOrEqual(LIMIT + LIVE_MAX + 2);
  expect(list.total).toBe(6_000);
  expect(server.asked).toEqual([null, null, null]);
  await readToTheEnd(list);
  expect(list.rows).toEqual(down(6_000));
});

test("rows that become too many while a further page is under way leave no gap", async () => {
  const server = new Server();
  server.newest = 5_000;
  const list = await begun(server);
  const open = server.hold();
  list.more(); // its answer stands behind rows that are let go of meanwhile
  server.happen(list, LIVE_MAX + 1);
  await open();
  await settled(list);
  expect(list.rows).toEqual(down(7_001, 6_902));
  await readToTheEnd(list);
  expect(list.rows).toEqual(down(7_001));
});

test("a further page that a lost connection has dropped comes when one asks for it again", async () => {
  const server = new Server();
  server.newest = 300;
  const list = await begun(server);
  list.reading = true;
  const open = server.hold();
  list.more();
  list.restart(server.fetch, false);
  await open();
  await settled(list);
  expect(list.rows).toEqual(down(300, 201));
  list.more();
  await settled(list);
  expect(list.rows).toEqual(down(300, 101));
});

test("rows that wait are counted up to a bound", async () => {
  const server = new Server();
  const list = await begun(server);
  list.reading = true;
  server.happen(list, LIVE_MAX);
  expect([list.waiting, list.atLeast]).toEqual([LIVE_MAX, false]);
  server.happen(list);
  expect([list.waiting, list.atLeast]).toEqual([LIVE_MAX, true]);
});

test("a page that did not come keeps what is there, and comes by itself or when one asks", async () => {
  vi.useFakeTimers();
  const list = new Paged<number>(String);
  let broken = true;
  list.restart(async (cursor) => {
    if (cursor === null) return { items: [2], next: "2" };
    if (broken) throw new Problem(0, "No connection", "The server does not answer.");
    return { items: [1], next: null };
  }, true);
  await vi.advanceTimersByTimeAsync(0);
  list.more();
  await vi.advanceTimersByTimeAsync(0);
  expect(list.problem?.status).toBe(0);
  expect(list.rows).toEqual([2]);
  list.more();
  expect(list.loading).toBe(false); // whoever scrolls there does not ask again and again
  list.again();
  await vi.advanceTimersByTimeAsync(0);
  expect(list.problem?.status).toBe(0);
  broken = false;
  await vi.advanceTimersByTimeAsync(5_000);
  expect(list.rows).toEqual([2, 1]);
  expect(list.problem).toBeUndefined();
});

test("what will not pass is asked for again only when one asks", async () => {
  vi.useFakeTimers();
  const list = new Paged<number>(String);
  let asked = 0;
  list.restart(async () => {
    asked += 1;
    if (asked === 1) throw new Problem(500, "Records", "The records are damaged.");
    return { items: [1], next: null };
  }, true);
  await vi.advanceTimersByTimeAsync(60_000);
  expect(asked).toBe(1);
  list.again();
  await vi.advanceTimersByTimeAsync(0);
  expect(list.rows).toEqual([1]);
});
