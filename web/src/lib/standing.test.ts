import { expect, test } from "vitest";

import { standingOf } from "./standing";

const HALF = { account: "demo", running: false, end_ms: 2_000, until_ms: 1_000 };

test("a replay that was stopped on its way has not ended", () => {
  expect(standingOf(HALF)).toBe("stopped");
  expect(standingOf({ ...HALF, running: true })).toBe("running");
  expect(standingOf({ ...HALF, until_ms: 2_000 })).toBe("ended");
});

test("an account without an end runs or is stopped, and a run is recorded", () => {
  expect(standingOf({ ...HALF, end_ms: null })).toBe("stopped");
  expect(standingOf({ ...HALF, end_ms: null, running: true })).toBe("running");
  expect(standingOf({ ...HALF, account: "run:3", until_ms: 2_000 })).toBe("recorded");
});
