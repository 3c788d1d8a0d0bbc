import { expect, test } from "vitest";

import { dayOf, daysOf, kindOf, later, midnightOf, nameOf, spanOfDays, zoneWord } from "./days";

const NEW_YORK = "America/New_York";
const named = (first: string, last: string, zone = "UTC"): string | null => nameOf(spanOfDays(first, last, zone), zone);

test("a moment belongs to the day of the zone, not to that of whoever looks on", () => {
  const evening = Date.UTC(2025, 10, 5, 3, 41); // 22:41 of the 4th in New York
  expect(dayOf(evening, "UTC")).toBe("2025-11-05");
  expect(dayOf(evening, NEW_YORK)).toBe("2025-11-04");
  expect(dayOf(evening, "Asia/Kolkata")).toBe("2025-11-05");
});

test("a day begins at midnight of its zone, also when clocks change", () => {
  expect(midnightOf("2025-11-04", "UTC")).toBe(Date.UTC(2025, 10, 4));
  expect(midnightOf("2025-11-02", NEW_YORK)).toBe(Date.UTC(2025, 10, 2, 4));
  expect(midnightOf("2025-11-03", NEW_YORK)).toBe(Date.UTC(2025, 10, 3, 5));
  expect(midnightOf("2025-03-09", NEW_YORK)).toBe(Date.UTC(2025, 2, 9, 5));
  expect(midnightOf("2025-03-10", NEW_YORK)).toBe(Date.UTC(2025, 2, 10, 4));
  expect(midnightOf("2025-08-22", "Asia/Kolkata")).toBe(Date.UTC(2025, 7, 21, 18, 30));
});

test("every day of two years begins in itself and ends where the next begins", () => {
  for (const zone of ["UTC", NEW_YORK, "Asia/Kolkata", "Australia/Lord_Howe", "Pacific/Auckland"]) {
    for (let day = "2024-01-01"; day < "2026-01-01"; day = later(day, 1)) {
      const begins = midnightOf(day, zone);
      expect(dayOf(begins, zone)).toBe(day);
      expect(dayOf(begins - 1, zone)).toBe(later(day, -1));
    }
  }
});

test("a span has the name of the day, week or month that it is", () => {
  expect(named("2025-11-04", "2025-11-04")).toBe("2025-11-04");
  expect(named("2025-10-27", "2025-11-02")).toBe("2025-W44");
  expect(named("2025-11-01", "2025-11-30")).toBe("2025-11");
  expect(named("2024-02-01", "2024-02-29", NEW_YORK)).toBe("2024-02");
  expect(named("2025-10-27", "2025-11-02", NEW_YORK)).toBe("2025-W44"); // an hour longer than others
  expect(named("2024-12-30", "2025-01-05")).toBe("2025-W01");
  expect(named("2020-12-28", "2021-01-03")).toBe("2020-W53");
});

test("any other span of days is named by its first and its last, both within", () => {
  expect(named("2025-10-28", "2025-11-03")).toBe("2025-10-28 to 2025-11-03"); // seven days, and no week
  expect(named("2025-11-01", "2025-12-31")).toBe("2025-11-01 to 2025-12-31");
  expect(kindOf(spanOfDays("2025-11-01", "2025-12-31", "UTC"), "UTC")).toBeNull();
});

test("a span that begins or ends within a day has no name", () => {
  const { start_ms, end_ms } = spanOfDays("2025-11-04", "2025-11-04", "UTC");
  expect(nameOf({ start_ms, end_ms }, NEW_YORK)).toBeNull();
  expect(nameOf({ start_ms: start_ms + 1, end_ms }, "UTC")).toBeNull();
  expect(daysOf({ start_ms }, "UTC")).toBeNull();
  expect(daysOf({ start_ms: end_ms, end_ms: start_ms }, "UTC")).toBeNull();
});

test("a zone is called by its place", () => {
  expect(zoneWord("UTC")).toBe("UTC");
  expect(zoneWord("America/New_York")).toBe("New York");
});
