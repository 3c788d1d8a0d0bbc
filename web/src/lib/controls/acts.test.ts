import { expect, test, vi } from "vitest";

import { Problem } from "../api/client";
import type { AuditItem, CommandItem } from "../api/types";
import { Acts } from "./acts.svelte";

vi.mock("../account.svelte", () => ({ chosen: { id: null } })); // it reads the address bar

const LIMIT = 10;

/** Acts numbered from 1, each with its command; a cursor is the number that the page before ended with. */
class Server {
  newest = 35;
  asked: string[] = [];

  act = (number: number): AuditItem => ({
    at_ms: number * 1_000,
    actor: "web:anna",
    action: "pause",
    detail: { command_id: `command ${String(number)}` },
  });
  command = (number: number): CommandItem =>
    ({ command_id: `command ${String(number)}`, created_at_ms: number * 1_000, status: "applied" }) as CommandItem;

  page<T>(kind: string, make: (number: number) => T, cursor: string | null): Promise<{ items: T[]; next: string | null; total: null }> {
    this.asked.push(`${kind} ${cursor ?? "newest"}`);
    const first = cursor === null ? this.newest : Number(cursor) - 1;
    const last = Math.max(1, first - LIMIT + 1);
    const items = Array.from({ length: first - last + 1 }, (_, index) => make(first - index));
    return Promise.resolve({ items, next: last > 1 ? String(last) : null, total: null });
  }

  list(): Acts {
    return new Acts({
      audit: (cursor) => this.page("audit", this.act, cursor),
      commands: (cursor) => this.page("commands", this.command, cursor),
    });
  }
}

function numbers(acts: Acts): number[] {
  return (acts.items ?? []).map((item) => item.at_ms / 1_000);
}

function from(newest: number, oldest: number): number[] {
  return Array.from({ length: newest - oldest + 1 }, (_, index) => newest - index);
}

test("older acts come page after page until there are none, each with its answer", async () => {
  const server = new Server();
  const acts = server.list();
  await acts.refresh();
  expect(numbers(acts)).toEqual(from(35, 26));
  while (acts.more) await acts.older();
  expect(numbers(acts)).toEqual(from(35, 1));
  expect(acts.answers.size).toBe(35);
  expect(server.asked.filter((each) => each === "audit newest")).toHaveLength(1);
});

test("a refresh asks for the newest page alone, and what is shown behind it stays", async () => {
  const server = new Server();
  const acts = server.list();
  await acts.refresh();
  await acts.older();
  server.newest = 38;
  server.asked = [];
  await acts.refresh();
  expect(server.asked).toEqual(["audit newest", "commands newest"]);
  expect(numbers(acts)).toEqual(from(38, 16));
  expect(acts.answers.get("command 38")?.status).toBe("applied");
  await acts.older();
  expect(numbers(acts)).toEqual(from(38, 6));
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
  const acts = server.list();
  await acts.refresh();
  const audit = vi.spyOn(server, "page").mockRejectedValue(new Problem(0, "No connection", "The server does not answer."));
  await acts.refresh();
  expect(acts.problem?.status).toBe(0);
  expect(numbers(acts)).toEqual(from(35, 26));
  audit.mockRestore();
  await acts.refresh();
  expect(acts.problem).toBeUndefined();
});
