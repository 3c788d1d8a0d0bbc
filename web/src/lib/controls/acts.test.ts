import { expect, test, vi } from "vitest";

import { Problem } from "../api/client";
import type { AuditItem, AuditPage } from "../api/types";
import { Acts } from "./acts.svelte";

vi.mock("../account.svelte", () => ({ chosen: { id: null } })); // it reads the address bar

const LIMIT = 10;

/** Acts numbered from 1; a cursor is the number that the page before ended with. */
class Server {
  newest = 35;
  asked: string[] = [];
  waiting = new Set<number>();

  act = (number: number): AuditItem => ({
    number,
    at_ms: 1_000, // all of one moment, which tells none from another
    actor: "web:anna",
    action: "pause",
    detail: {},
    result: { status: this.waiting.has(number) ? "waiting" : "applied", sentence: "", time_ms: null },
  });

  page = (limit: number, cursor: string | null): Promise<AuditPage> => {
    this.asked.push(`${String(limit)} from ${cursor ?? "newest"}`);
    const first = cursor === null ? this.newest : Number(cursor) - 1;
    const last = Math.max(1, first - limit + 1);
    const items = Array.from({ length: first - last + 1 }, (_, index) => this.act(first - index));
    return Promise.resolve({ items, next: last > 1 ? String(last) : null, total: null });
  };

  list(): Acts {
    return new Acts(this.page, LIMIT);
  }
}

function numbers(acts: Acts): number[] {
  return (acts.items ?? []).map((item) => item.number);
}

function from(newest: number, oldest: number): number[] {
  return Array.from({ length: newest - oldest + 1 }, (_, index) => newest - index);
}

test("older acts come page after page until there are none", async () => {
  const server = new Server();
  const acts = server.list();
  await acts.refresh();
  expect(numbers(acts)).toEqual(from(35, 26));
  while (acts.more) await acts.older();
  expect(numbers(acts)).toEqual(from(35, 1));
  expect(server.asked).toEqual(["10 from newest", "10 from 26", "10 from 16", "10 from 6"]);
});

test("a refresh asks for the newest page alone, and what is shown behind it stays", async () => {
  const server = new Server();
  const acts = server.list();
  await acts.refresh();
  await acts.older();
  server.newest = 38;
  server.asked = [];
  await acts.refresh();
  expect(server.asked).toEqual(["10 from newest"]);
  expect(numbers(acts)).toEqual(from(38, 16));
  await acts.older();
  expect(numbers(acts)).toEqual(from(38, 6));
});

test("what waited when it was shown tells its answer, however far behind it stands", async () => {
  const server = new Server();
  server.waiting.add(17);
  const acts = server.list();
  await acts.refresh();
  await acts.older();
  const shown = (number: number): unknown => acts.items?.find((item) => item.number === number)?.result?.status;
  expect(shown(17)).toBe("waiting");
  server.waiting.clear();
  server.newest = 38;
  await acts.refresh();
  expect(shown(17)).toBe("applied");
  expect(numbers(acts)).toEqual(from(38, 10));
  server.asked = [];
  await acts.refresh();
  expect(server.asked).toEqual(["10 from newest"]);
  while (acts.more) await acts.older();
  expect(numbers(acts)).toEqual(from(38, 1));
});

test("where more was done than a page holds the list begins anew, without a gap", async () => {
  const server = new Server();
  const acts = server.list();
  await acts.refresh();
  server.newest = 80;
  await acts.refresh();
  while (acts.more) await acts.older();
  expect(numbers(acts)).toEqual(from(80, 1));
});

test("what did not come is told, and what is shown stays", async () => {
  const server = new Server();
  let broken = false;
  const acts = new Acts((limit, cursor) => {
    if (broken) return Promise.reject(new Problem(0, "No connection", "The server does not answer."));
    return server.page(limit, cursor);
  }, LIMIT);
  await acts.refresh();
  broken = true;
  await acts.refresh();
  expect(acts.problem?.status).toBe(0);
  expect(numbers(acts)).toEqual(from(35, 26));
  broken = false;
  await acts.refresh();
  expect(acts.problem).toBeUndefined();
});
