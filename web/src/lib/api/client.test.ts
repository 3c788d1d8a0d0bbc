import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { forgetAnswers, get, post } from "./client";

vi.mock("../account.svelte", () => ({ chosen: { id: "august" } }));
vi.mock("../session.svelte", () => ({ session: { token: null, refused: false } }));

const sent: string[] = [];

beforeEach(() => {
  vi.useFakeTimers();
  sent.length = 0;
  forgetAnswers();
  vi.stubGlobal("fetch", (url: string) => {
    sent.push(url);
    return new Promise((resolve) => setTimeout(() => resolve(Response.json({ number: sent.length })), 100));
  });
});

afterEach(() => {
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

test("what two parts of a page ask in one moment is asked once", async () => {
  const answers = Promise.all([get("performance", { by: "symbol" }), get("performance", { by: "symbol" }), get("performance")]);
  await vi.advanceTimersByTimeAsync(100);
  expect(await answers).toEqual([{ number: 2 }, { number: 2 }, { number: 2 }]);
  expect(sent).toEqual(["/api/v1/performance?by=symbol&account=august", "/api/v1/performance?account=august"]);
});

test("a little later it is asked again, and at once after something new or a command", async () => {
  const answers = [get("profit")];
  await vi.advanceTimersByTimeAsync(60);
  answers.push(get("profit"));
  forgetAnswers();
  answers.push(get("profit"));
  const told = post("pause", {});
  await vi.advanceTimersByTimeAsync(90);
  answers.push(get("profit"));
  await vi.advanceTimersByTimeAsync(10);
  await told;
  answers.push(get("profit"));
  await vi.advanceTimersByTimeAsync(200);
  await Promise.all(answers);
  expect(sent.filter((url) => url.includes("profit"))).toHaveLength(5);
});
