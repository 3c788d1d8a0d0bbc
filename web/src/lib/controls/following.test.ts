import { afterEach, beforeEach, expect, test, vi } from "vitest";

import type { CommandItem } from "../api/types";
import { follow, onCommands, withdrew } from "./following";

const world = vi.hoisted(() => ({
  chosen: { id: "august" as string | null },
  session: { token: "ct_1" as string | null, refused: false },
  asked: [] as string[],
  toasts: [] as string[],
  tell: undefined as (() => void) | undefined,
  wanted: 0,
  commands: [] as unknown[],
  problem: undefined as unknown,
}));
vi.mock("../account.svelte", () => ({ chosen: world.chosen }));
vi.mock("../session.svelte", () => ({ session: world.session }));
vi.mock("../api/live.svelte", () => ({
  live: {
    want: () => {
      world.wanted += 1;
      return () => (world.wanted -= 1);
    },
    on: (topic: string, handler: () => void) => {
      expect(topic).toBe("log");
      world.tell = handler;
      return () => (world.tell = undefined);
    },
  },
}));
vi.mock("../toast.svelte", () => ({
  toast: (tone: string, text: string) => world.toasts.push(`${tone} ${text}`),
  toasts: { items: [] },
}));
vi.mock("../api/client", () => ({
  Problem: class extends Error {
    passing = true;
  },
  get: (path: string, { account, limit, cursor }: { account: string; limit: number; cursor: string | null }) => {
    world.asked.push(`${path} of ${account} from ${cursor ?? "newest"}`);
    if (world.problem !== undefined) return Promise.reject(world.problem as Error);
    const from = cursor === null ? 0 : Number(cursor);
    const next = from + limit < world.commands.length ? String(from + limit) : null;
    return Promise.resolve({ items: world.commands.slice(from, from + limit), next, total: null });
  },
}));

const NOW = 1_755_864_000_000;

function command(number: number, status: CommandItem["status"] = "waiting"): CommandItem {
  return { command_id: String(number), status, sentence: `${status} ${String(number)}`, created_at_ms: NOW } as CommandItem;
}

async function logged(): Promise<void> {
  world.tell?.();
  await vi.advanceTimersByTimeAsync(0);
}

beforeEach(() => {
  vi.useFakeTimers();
  vi.stubGlobal("window", globalThis);
  world.chosen.id = "august";
  world.session.token = "ct_1";
  world.session.refused = false;
  world.commands = [];
  world.asked.length = world.toasts.length = 0;
  world.problem = undefined;
});

afterEach(async () => {
  world.session.refused = true; // whatever is still followed is followed no more
  await logged();
  expect(world.wanted).toBe(0);
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

test("while nothing is told nothing is asked, however long a command waits", async () => {
  world.commands = [command(1)];
  follow("Pause entries", command(1), "august");
  await vi.advanceTimersByTimeAsync(700);
  expect(world.asked).toHaveLength(1);
  await vi.advanceTimersByTimeAsync(3_600_000);
  expect(world.asked).toHaveLength(1);
  const heard = vi.fn();
  const off = onCommands(heard);
  world.commands = [command(1, "applied")];
  await logged();
  expect(world.toasts).toEqual(["info Pause entries: waiting 1", "up Pause entries: applied 1"]);
  expect(heard).toHaveBeenCalledOnce();
  off();
});

test("what is taken back here is followed no more, and elsewhere it is told", async () => {
  follow("Block A", command(1), "august");
  follow("Block B", command(2), "august");
  const heard = vi.fn();
  const off = onCommands(heard);
  withdrew("Block A", command(1, "withdrawn"));
  expect(heard).toHaveBeenCalledOnce();
  world.commands = [command(2, "withdrawn"), command(1, "withdrawn")];
  await logged();
  expect(world.toasts.slice(2)).toEqual(["info Withdrawn: Block A", "info Withdrawn – Block B: withdrawn 2"]);
  off();
});

test("commands that wait together are looked for together", async () => {
  follow("Block A", command(1), "august");
  follow("Block B", command(2), "august");
  world.commands = [command(2, "refused"), command(1, "applied")];
  await logged();
  expect(world.asked).toHaveLength(1);
  expect(world.toasts.slice(2)).toEqual(["up Block A: applied 1", "warn Refused – Block B: refused 2"]);
});

test("an answer is found behind any number of newer commands", async () => {
  follow("Block A", command(0), "august");
  world.commands = Array.from({ length: 120 }, (_, index) => command(120 - index)).concat(command(0, "applied"));
  await logged();
  expect(world.toasts.at(-1)).toBe("up Block A: applied 0");
  expect(world.asked.at(-1)).toBe("commands of august from 100");
});

test("what another account was told is asked for once that is looked at again", async () => {
  follow("Pause entries", command(1), "august");
  world.commands = [command(1, "applied")];
  world.chosen.id = "july";
  await logged();
  await vi.advanceTimersByTimeAsync(60_000);
  expect(world.asked).toEqual([]);
  world.chosen.id = "august";
  await logged();
  expect(world.toasts.at(-1)).toBe("up Pause entries: applied 1");
});

test.each([
  ["signs out", { token: null, refused: true }],
  ["signs in as somebody else", { token: "ct_2", refused: false }],
])("who %s is told nothing more", async (_, session) => {
  follow("Pause entries", command(1), "august");
  world.commands = [command(1, "applied")];
  Object.assign(world.session, session);
  await logged();
  expect(world.asked).toEqual([]);
  expect(world.toasts).toHaveLength(1);
});

test("a look that fails is done again", async () => {
  follow("Pause entries", command(1), "august");
  const { Problem } = await import("../api/client");
  world.problem = new Problem(503, "", "");
  await logged();
  expect(world.toasts).toHaveLength(1);
  world.problem = undefined;
  world.commands = [command(1, "applied")];
  await vi.advanceTimersByTimeAsync(5_000);
  expect(world.toasts.at(-1)).toBe("up Pause entries: applied 1");
});
