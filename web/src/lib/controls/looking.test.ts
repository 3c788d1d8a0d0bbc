import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { Problem } from "../api/client";
import type { CommandItem } from "../api/types";
import { lookFor } from "./looking";

const world = vi.hoisted(() => ({ asked: [] as unknown[], answers: [] as unknown[] }));
vi.mock("../account.svelte", () => ({ chosen: { id: null } })); // it reads the address bar
vi.mock("../session.svelte", () => ({ session: { token: "ct_secret", refused: false } }));
vi.mock("./given", () => ({
  givenAmong: (numbers: string[], account: string, sinceMs: number) => {
    world.asked.push([numbers, account, sinceMs]);
    const answer = world.answers.shift();
    return answer instanceof Error ? Promise.reject(answer) : Promise.resolve(answer);
  },
}));

const SOUGHT = [
  { number: "b", atMs: 7 },
  { number: "a", atMs: 5 },
];
const ASKED = [["b", "a"], "august", 5];
const THERE = new Map([["a", { command_id: "a", status: "waiting" } as CommandItem]]);

let told: unknown[];
const outcome = {
  found: (items: ReadonlyMap<string, CommandItem>) => told.push([...items.keys()]),
  failed: (problem: Problem) => told.push(problem.message),
};

beforeEach(() => {
  vi.useFakeTimers();
  world.asked = [];
  told = [];
});

afterEach(() => {
  vi.useRealTimers();
});

test("which of the commands are there is told once", async () => {
  world.answers = [THERE];
  lookFor(SOUGHT, "august", outcome);
  await vi.advanceTimersByTimeAsync(60_000);
  expect(world.asked).toEqual([ASKED]);
  expect(told).toEqual([["a"]]);
});

test.each([403, 404, 500])("a problem of the kind %i is told, and nobody is asked again", async (status) => {
  world.answers = [new Problem(status, "Refused", "The records can not be read.")];
  lookFor(SOUGHT, "august", outcome);
  await vi.advanceTimersByTimeAsync(60_000);
  expect(world.asked).toEqual([ASKED]);
  expect(told).toEqual(["The records can not be read."]);
});

test.each([0, 429, 503])("a problem of the kind %i passes, and it is looked again", async (status) => {
  world.answers = [new Problem(status, "Not now", ""), THERE];
  lookFor(SOUGHT, "august", outcome);
  await vi.advanceTimersByTimeAsync(4_999);
  expect(world.asked).toEqual([ASKED]);
  await vi.advanceTimersByTimeAsync(1);
  expect(world.asked).toEqual([ASKED, ASKED]);
  expect(told).toEqual([["a"]]);
});

test("nothing is told or asked once it has ended", async () => {
  for (const answer of [THERE, new Problem(500, "Refused", ""), new Problem(0, "No connection", "")]) {
    world.answers = [answer];
    const end = lookFor(SOUGHT, "august", outcome);
    end();
    await vi.advanceTimersByTimeAsync(60_000);
  }
  world.answers = [new Problem(0, "No connection", "")];
  const end = lookFor(SOUGHT, "august", outcome);
  await vi.advanceTimersByTimeAsync(1_000);
  end();
  await vi.advanceTimersByTimeAsync(60_000);
  expect(world.asked).toHaveLength(4);
  expect(told).toEqual([]);
});
