import { beforeEach, expect, test, vi } from "vitest";

import { whyNoCommand, whyNotAllowed } from "./rights.svelte";

const world = vi.hoisted(() => ({
  app: { account: "august" as string | null, status: { account: "august", end_ms: null as number | null, until_ms: 0 }, scopes: ["control"] },
  live: { state: "open" },
}));
vi.mock("../app.svelte", () => ({ app: Object.assign(world.app, { may: (scope: string) => world.app.scopes.includes(scope) }) }));
vi.mock("../api/live.svelte", () => ({ live: world.live }));

beforeEach(() => {
  Object.assign(world.app, { account: "august", status: { account: "august", end_ms: null, until_ms: 0 }, scopes: ["control"] });
  world.live.state = "open";
});

test("who may command can, while there is a connection or one is on its way", () => {
  expect(whyNoCommand()).toBeNull();
  world.live.state = "connecting";
  expect(whyNoCommand()).toBeNull();
});

test("without a connection no command can be given, though one may", () => {
  world.live.state = "lost";
  expect(whyNoCommand()).toContain("No connection");
  expect(whyNotAllowed()).toBeNull();
});

test.each<[string, object, string]>([
  ["a recorded run", { account: "run:7" }, "recorded run"],
  ["who may only read", { scopes: ["read"] }, "scope control"],
  ["a replay that has ended", { status: { account: "august", end_ms: 60, until_ms: 60 } }, "come to its end"],
  ["no account", { account: null, status: undefined }, "No account"],
])("%s takes none, with or without a connection", (_, state, words) => {
  Object.assign(world.app, state);
  for (const connection of ["open", "lost"]) {
    world.live.state = connection;
    expect(whyNoCommand()).toContain(words);
  }
});
