import { describe, expect, it } from "vitest";

import { stepped } from "./levels";
import type { DrawnStraight } from "./types";

function line(from: number, to: number, from_price: number, to_price = from_price): DrawnStraight {
  return { from, to, from_price, to_price };
}

describe("two level lines", () => {
  it("are joined by a step where one goes on as the other ends", () => {
    expect(stepped(line(0.5, 1.5, 100), line(1.5, 2.5, 103))).toBe(true);
  });

  it("are not joined over a hole", () => {
    expect(stepped(line(0.5, 1.5, 100), line(2.5, 3.5, 103))).toBe(false);
  });

  it("and a line of a channel are not joined: it was another channel", () => {
    expect(stepped(line(0.5, 1.5, 100), line(1.5, 2.5, 103, 104))).toBe(false);
    expect(stepped(line(0.5, 1.5, 99, 100), line(1.5, 2.5, 100))).toBe(false);
  });
});
