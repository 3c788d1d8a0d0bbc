import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { paced } from "./resource.svelte";

vi.mock("../account.svelte", () => ({ chosen: { id: null } }));

beforeEach(() => {
  vi.useFakeTimers();
  vi.stubGlobal("window", globalThis);
  vi.stubGlobal("document", { hidden: false });
});

afterEach(() => {
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

test("however often it is asked for, it is done at once and then at most once in its time", async () => {
  const act = vi.fn();
  const pace = paced(act, 2_000);
  for (let index = 0; index < 50; index += 1) {
    pace.ask();
    await vi.advanceTimersByTimeAsync(100);
  }
  expect(act).toHaveBeenCalledTimes(3);
});

test("what was just done without being asked for is not done again at once", async () => {
  const act = vi.fn();
  const pace = paced(act, 2_000);
  pace.done();
  pace.ask();
  await vi.advanceTimersByTimeAsync(1_999);
  expect(act).not.toHaveBeenCalled();
  await vi.advanceTimersByTimeAsync(1);
  expect(act).toHaveBeenCalledTimes(1);
});

test("what is owed while the page is hidden is done when it is seen", () => {
  const act = vi.fn();
  const hidden = { hidden: true };
  vi.stubGlobal("document", hidden);
  const pace = paced(act, 2_000);
  pace.ask();
  expect(act).not.toHaveBeenCalled();
  hidden.hidden = false;
  pace.seen();
  expect(act).toHaveBeenCalledTimes(1);
});
