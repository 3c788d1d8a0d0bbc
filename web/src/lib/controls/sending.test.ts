import { expect, test, vi } from "vitest";

import { Problem } from "../api/client";
import type { CommandItem } from "../api/types";
import type { Told } from "./doubts.svelte";
import { Sending } from "./sending.svelte";

vi.mock("../account.svelte", () => ({ chosen: { id: null } })); // it reads the address bar
vi.mock("../api/live.svelte", () => ({ live: { skew: 5_000 } }));

/** A command, told apart by its symbol. */
function command(symbol: string, account = "august"): Told {
  const body = { kind: "close", arguments: { symbol }, not_before_ms: null } as const;
  return { account, actor: "web:anna", words: `Sell ${symbol}`, path: "commands", body };
}

const GIVEN = { command_id: "1", status: "waiting" } as CommandItem;
const NOT_REACHED = new Problem(0, "No connection", "The server does not answer.");

/** A server that answers with the next of these, and notes under which numbers it was asked. */
function server(...answers: (CommandItem | Problem)[]) {
  const numbers: string[] = [];
  const post = (number: string): Promise<CommandItem> => {
    numbers.push(number);
    const answer = answers.shift();
    return answer instanceof Problem ? Promise.reject(answer) : Promise.resolve(answer ?? GIVEN);
  };
  return { numbers, post };
}

test.each([0, 429, 500, 502, 503, 504])("after a %i it is sent again under the same number", async (status) => {
  const { numbers, post } = server(new Problem(status, "", ""), GIVEN);
  const sending = new Sending(command(String(status)));
  expect(await sending.send(post)).toBeUndefined();
  expect(sending.unclear).toBe(true);
  expect(await sending.send(post)).toBe(GIVEN);
  expect(numbers[0]).toMatch(/^[0-9a-f]{32}$/);
  expect(numbers[1]).toBe(numbers[0]);
});

test("closed and opened again it is still the same command, and another one is another", async () => {
  const { numbers, post } = server(NOT_REACHED, NOT_REACHED);
  const before = Date.now();
  await new Sending(command("ETH/USDT")).send(post);
  const again = new Sending(command("ETH/USDT"));
  expect(again.doubt?.atMs).toBeGreaterThanOrEqual(before + 5_000); // the clock of the server is ahead
  await new Sending(command("BTC/USDT")).send(post);
  await new Sending(command("ETH/USDT", "july")).send(post);
  await again.send(post);
  expect(new Set(numbers).size).toBe(3);
  expect(numbers[3]).toBe(numbers[0]);
  expect(again.doubt).toBeUndefined();
});

test("what was taken or refused is over: the next one has a number of its own", async () => {
  const { numbers, post } = server(GIVEN, new Problem(409, "Conflict", "Entries are paused already."), GIVEN);
  for (let time = 0; time < 3; time++) {
    const sending = new Sending(command("SOL/USDT"));
    await sending.send(post);
    expect(sending.unclear).toBe(false);
  }
  expect(new Set(numbers).size).toBe(3);
});

test("pressed twice it is sent once", async () => {
  const { numbers, post } = server();
  const sending = new Sending(command("WIF/USDT"));
  const both = [sending.send(post), sending.send(post)];
  expect(await Promise.all(both)).toEqual([GIVEN, undefined]);
  expect(numbers).toHaveLength(1);
});
