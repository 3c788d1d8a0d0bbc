import { afterAll, describe, expect, it, vi } from "vitest";

import { WEIGHTS, moment, onTheWall, tick, unitOf, weight } from "./clock";

const at = (text: string): number => Date.parse(`${text}Z`);

describe("weights of ticks", () => {
  it("names the largest thing that begins", () => {
    expect(weight(at("2026-01-01T00:00"), at("2025-12-31T23:45"))).toBe(WEIGHTS.year);
    expect(weight(at("2025-09-01T00:00"), at("2025-08-31T23:45"))).toBe(WEIGHTS.month);
    expect(weight(at("2025-08-22T00:00"), at("2025-08-21T23:45"))).toBe(WEIGHTS.day);
    expect(weight(at("2025-08-22T12:00"), at("2025-08-22T11:45"))).toBe(WEIGHTS.hour12);
    expect(weight(at("2025-08-22T14:00"), at("2025-08-22T13:45"))).toBe(WEIGHTS.hour1);
    expect(weight(at("2025-08-22T14:15"), at("2025-08-22T14:00"))).toBe(WEIGHTS.minute5);
    expect(weight(at("2025-08-22T14:01"), at("2025-08-22T14:00"))).toBe(WEIGHTS.minute1);
  });

  it("sees a day begin after a hole in the bars", () => {
    expect(weight(at("2025-08-22T03:00"), at("2025-08-21T20:00"))).toBe(WEIGHTS.day);
  });

  it("says what a weight names", () => {
    expect([70, 60, 50, 33, 20, 0].map(unitOf)).toEqual(["year", "month", "day", "minute", "minute", "minute"]);
  });
});

describe("zones", () => {
  it("leaves UTC alone and writes it as such", () => {
    const ms = at("2025-08-22T12:30");
    expect(onTheWall(ms, "utc")).toBe(ms);
    expect(tick(ms, "minute", "utc")).toBe("12:30");
    expect(tick(ms, "day", "utc")).toBe("22 Aug");
  });

  it("moves a moment to the clock on the wall", () => {
    const ms = at("2025-08-22T12:30");
    expect(new Date(onTheWall(ms, "local")).getUTCHours()).toBe(new Date(ms).getHours());
  });
});

describe("what stands under the crosshair", () => {
  afterAll(() => vi.unstubAllEnvs());

  async function in_(zone: string, text: string): Promise<string> {
    vi.stubEnv("TZ", zone);
    vi.resetModules();
    const clock = await import("./clock");
    return clock.moment(at(text), "local");
  }

  it("is the minute of the viewer, and that of UTC beside it", async () => {
    expect(await in_("America/New_York", "2025-03-23T11:00")).toBe("Sun 23 Mar, 07:00 (11:00 UTC)");
    expect(await in_("America/New_York", "2025-03-24T02:00")).toBe("Sun 23 Mar, 22:00 (Mon 02:00 UTC)");
  });

  it("says that it is UTC where the viewer's is no other", async () => {
    expect(await in_("UTC", "2025-03-23T11:00")).toBe("Sun 23 Mar, 11:00 UTC");
    expect(moment(at("2025-03-23T00:00"), "utc")).toBe("Sun, 23 Mar 2025 UTC");
  });
});
