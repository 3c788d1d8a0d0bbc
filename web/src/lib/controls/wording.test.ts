import { expect, test } from "vitest";

import { actorWords, said, saidOf } from "./wording";

test("every command of the engine has words", () => {
  const given: [string, Record<string, string | number>, string][] = [
    ["pause", {}, "Pause entries"],
    ["resume", {}, "Resume entries"],
    ["close", { symbol: "ETH/USDT" }, "Sell ETH/USDT"],
    ["close_worst", { count: 3 }, "Sell the 3 worst positions"],
    ["close_worst", { count: 1 }, "Sell the worst position"],
    ["regime_force", { regime: "panic" }, "Force the regime PANIC"],
    ["regime_release", {}, "Leave the regime to the market"],
    ["cooldown_clear", { symbol: "ETH/USDT" }, "Clear the cooldown of ETH/USDT"],
    ["streak_clear", { strategy: "DCA" }, "Clear the losing streak of DCA"],
    ["strategy_on", { strategy: "DCA" }, "Switch DCA on"],
    ["strategy_off", { strategy: "DCA" }, "Switch DCA off"],
    ["block", { symbol: "ETH/USDT" }, "Block ETH/USDT"],
    ["unblock", { symbol: "ETH/USDT" }, "Unblock ETH/USDT"],
    ["configure", { version: "f744a98dffad" }, "Apply the configuration f744a98dffad"],
  ];
  for (const [kind, of, words] of given) expect(said(kind, of)).toBe(words);
});

test("an act that has no words of its own is named by its code", () => {
  expect(said("bar_vouched", {})).toBe("bar vouched");
});

test("the audit keeps a command's arguments within its detail, those of an offer beside it", () => {
  const at = { number: 1, at_ms: 0, actor: "web:anna", result: null };
  expect(saidOf({ ...at, action: "block", detail: { command_id: "1", arguments: { symbol: "ETH/USDT" } } })).toBe(
    "Block ETH/USDT",
  );
  expect(saidOf({ ...at, action: "configuration_offered", detail: { version: "f744", source: "x.toml" } })).toBe(
    "Offered the configuration f744",
  );
});

test("an act that takes a command back names that one", () => {
  const detail = { command_id: "1", kind: "block", arguments: { symbol: "ETH/USDT" }, not_before_ms: null };
  expect(saidOf({ number: 2, at_ms: 0, actor: "web:bob", result: null, action: "withdraw", detail })).toBe(
    "Withdrew: Block ETH/USDT",
  );
});

test("an actor is a name and the face that it came through", () => {
  expect(actorWords("web:anna")).toEqual({ name: "anna", through: "web" });
  expect(actorWords("cli:root")).toEqual({ name: "root", through: "command line" });
  expect(actorWords("test")).toEqual({ name: "test", through: "" });
});
