import { describe, expect, it } from "vitest";

import { measurements } from "./measured";
import { bandOf, saidOf, whole } from "./readiness";

describe("measurements", () => {
  it("carry the unit of what they measure", () => {
    const text = measurements({ high_4h: 118_995.5, drop: 0.0213, volume_ratio: 1.6, slow_regime: 2, breakout: 0.994 });
    expect(text.map((one) => one.text)).toEqual(["118,995.50", "2.13 %", "1.60 × mean", "bull", "−0.60 %"]);
  });

  it("are cut off as the sentences beside them are, so that none reads as enough that is not", () => {
    const text = measurements({ drop: 0.01449, volume_ratio: 0.998, breakout: 0.99859, rsi: 49.96, strength: 0.7399, width: 0.01409 });
    expect(text.map((one) => one.text)).toEqual(["1.44 %", "0.99 × mean", "−0.15 %", "49.9", "0.73", "1.40 %"]);
    expect(measurements({ drop: 0.0145, strength: Math.fround(0.74) }).map((one) => one.text)).toEqual(["1.45 %", "0.74"]);
  });

  it("say where in its channel the price is: above or below the lower line", () => {
    const place = (value: number): string => measurements({ place: value }).map((one) => `${one.label}: ${one.text}`).join();
    expect(place(0.2507)).toBe("in the channel: 26 % up");
    expect(place(-0.831)).toBe("in the channel: 84 % below");
  });

  it("of a strategy that nobody knows here are plain numbers", () => {
    expect(measurements({ z_score: -1.25 })).toEqual([{ name: "z_score", label: "z score", text: "−1.2500" }]);
  });

  it("say that something was not measured", () => {
    expect(measurements({ drop: null })[0]?.text).toBe("–");
  });
});

describe("what a scan came to", () => {
  it("is a setup also where the portfolio refused it", () => {
    expect(saidOf({ setup: true, verdict: "SKIP" })).toEqual({ word: "setup, refused", tone: "info", by: "Refused by the portfolio: " });
    expect(saidOf({ setup: true, verdict: "TAKE" }).word).toBe("setup");
    expect(saidOf({ setup: false, verdict: "SKIP" }).word).toBe("no setup");
    expect(saidOf({ setup: false, verdict: "NEAR_MISS" }).word).toBe("near miss");
  });
});

describe("bands", () => {
  it("begin at 80, 60 and 30", () => {
    expect([100, 80, 79.9, 60, 30, 29.9, null].map(bandOf)).toEqual([
      "ready",
      "ready",
      "close",
      "close",
      "neutral",
      "waiting",
      "waiting",
    ]);
  });

  it("are not left by rounding", () => {
    expect([79.9, 80, null].map(whole)).toEqual(["79", "80", "–"]);
  });
});
