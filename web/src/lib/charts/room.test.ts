import { describe, expect, it } from "vitest";

import { clear, whole } from "./room";
import { beyond } from "./rulers";

describe("words of an axis", () => {
  it("are left out where an end would cut them", () => {
    expect([10, 20, 100, 180, 190].map((x) => whole("21:00", x, 200, 10))).toEqual([false, true, true, true, false]);
  });
});

describe("figures of a scale", () => {
  it("are left out where a tag would cover them in part", () => {
    expect([80, 86, 100, 114, 120].map((y) => clear(y, [100], 10))).toEqual([true, false, false, false, true]);
    expect(clear(100, [], 10)).toBe(true);
  });
});

describe("a price that lies beyond the pane", () => {
  it("is named at its edge, with the way to it", () => {
    expect(beyond("stop −12.4 %", "0.8123", false)).toBe("↓ stop −12.4 %, 0.8123");
    expect(beyond("target +11.1 %", "4.0581", true)).toBe("↑ target +11.1 %, 4.0581");
  });
});
