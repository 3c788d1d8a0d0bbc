import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { Problem } from "../api/client";
import type { CommandItem } from "../api/types";
import { Doubts, keyOf, type Told } from "./doubts.svelte";

vi.mock("../account.svelte", () => ({ chosen: { id: null } })); // it reads the address bar
vi.mock("../api/live.svelte", () => ({ live: { skew: 0 } }));
vi.mock("../session.svelte", () => ({ session: { token: "ct_secret", refused: false } }));

const SELL: Told = {
  account: "august",
  actor: "web:anna",
  words: "Sell ETH/USDT",
  path: "commands",
  body: { kind: "close", arguments: { symbol: "ETH/USDT" }, not_before_ms: null },
};
const LOST = new Problem(0, "No connection", "The server does not answer.");

class Storage {
  kept = new Map<string, string>();
  full = false;

  getItem(key: string): string | null {
    return this.kept.get(key) ?? null;
  }
  setItem(key: string, text: string): void {
    if (this.full) throw new DOMException("full", "QuotaExceededError");
    this.kept.set(key, text);
  }
  removeItem(key: string): void {
    this.kept.delete(key);
  }
}

let storage: Storage;

beforeEach(() => {
  storage = new Storage();
  vi.stubGlobal("sessionStorage", storage);
});

afterEach(() => {
  vi.unstubAllGlobals();
});

/** What a page that was loaded just now makes of this tab's storage. */
async function loaded() {
  vi.resetModules();
  const { doubts } = await import("./doubts.svelte");
  const { Sending } = await import("./sending.svelte");
  const { Problem: ItsProblem } = await import("../api/client");
  return { doubts, Sending, lost: () => Promise.reject(new ItsProblem(0, LOST.title, LOST.detail)) };
}

test("what nobody knows of is sent under its number after a reload too, until it is known", async () => {
  const first = await loaded();
  expect(first.doubts.restored).toBe(false);
  await new first.Sending(SELL).send(first.lost);
  const number = first.doubts.get(keyOf(SELL))?.number;
  expect(number).toMatch(/^[0-9a-f]{32}$/);
  expect(first.doubts.before("august", "web:anna")).toEqual([]); // its dialog tells of it

  const again = await loaded();
  expect(again.doubts.restored).toBe(true);
  const [doubt] = again.doubts.before("august", "web:anna");
  expect(doubt).toMatchObject({ number, told: SELL });
  const numbers: string[] = [];
  await new again.Sending(SELL).send((own) => {
    numbers.push(own);
    return Promise.resolve({ command_id: own, status: "waiting" } as CommandItem);
  });
  expect(numbers).toEqual([number]);
  expect(again.doubts.before("august", "web:anna")).toEqual([]);
  expect((await loaded()).doubts.restored).toBe(false);
});

test("a page that is left while a command is under way knows of it when it comes back", async () => {
  const first = await loaded();
  void new first.Sending(SELL).send(() => new Promise(() => undefined));
  expect((await loaded()).doubts.before("august", "web:anna")).toHaveLength(1);
});

test("nothing secret is kept, and another account or person is not asked about it", async () => {
  const first = await loaded();
  await new first.Sending(SELL).send(first.lost);
  expect([...storage.kept.values()].join()).not.toContain("ct_secret");
  const { doubts } = await loaded();
  expect([doubts.before("july", "web:anna"), doubts.before("august", "web:bob"), doubts.before(null, "")]).toEqual([[], [], []]);
});

test("a configuration is the same whatever it replaces, and is kept with its text", async () => {
  const offered = (replaces?: string): Told => ({
    account: "august",
    actor: "web:anna",
    words: "Apply the configuration f744",
    path: "config/apply",
    body: { toml: "[limits]\nmax_open = 7\n", replaces },
  });
  expect(keyOf(offered("a"))).toBe(keyOf(offered("b")));
  const first = await loaded();
  await new first.Sending(offered()).send(first.lost);
  expect((await loaded()).doubts.before("august", "web:anna")[0]?.told).toMatchObject({ path: "config/apply", body: { toml: "[limits]\nmax_open = 7\n" } });
});

test.each([
  ["is full", () => (storage.full = true)],
  [
    "is forbidden",
    () =>
      vi.stubGlobal("sessionStorage", {
        getItem: () => {
          throw new DOMException("forbidden", "SecurityError");
        },
      }),
  ],
])("a storage that %s keeps nobody from sending, and the page itself remembers", async (_, so) => {
  so();
  const { doubts, Sending, lost } = await loaded();
  const sending = new Sending(SELL);
  expect(await sending.send(lost)).toBeUndefined();
  expect(sending.unclear).toBe(true);
  const number = sending.doubt?.number;
  expect(await sending.send((own) => Promise.resolve({ command_id: own } as CommandItem))).toEqual({ command_id: number });
  expect(doubts.get(keyOf(SELL))).toBeUndefined();
});

test.each([
  "no JSON",
  "{}",
  "[null, 1, {}]",
  JSON.stringify([{ told: SELL, number: "<script>", atMs: 1 }]),
  JSON.stringify([{ told: { ...SELL, path: "elsewhere" }, number: "a".repeat(32), atMs: 1 }]),
  JSON.stringify([{ told: { ...SELL, body: { kind: "close" } }, number: "a".repeat(32), atMs: 1 }]),
  JSON.stringify([{ told: { ...SELL, path: "config/apply" }, number: "a".repeat(32), atMs: 1 }]),
  JSON.stringify([{ told: SELL, number: "a".repeat(32) }]),
])("what is none of ours is left alone: %s", (text) => {
  storage.kept.set("doubtful-commands", text);
  expect(new Doubts().restored).toBe(false);
});
