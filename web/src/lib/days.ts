/** Days of a named time zone: what they are called there, and when they begin. Pure. */

/** [start_ms, end_ms); a side that is left out is open. */
export interface Span {
  readonly start_ms?: number;
  readonly end_ms?: number;
}

const DAY_MS = 86_400_000;

const clocks = new Map<string, Intl.DateTimeFormat>();

/** What the clock of a zone shows, as if that were UTC. */
function shown(ms: number, zone: string): number {
  let clock = clocks.get(zone);
  if (clock === undefined) {
    const digits = { year: "numeric", month: "numeric", day: "numeric", hour: "numeric", minute: "numeric" } as const;
    clock = new Intl.DateTimeFormat("en-US", { ...digits, second: "numeric", hourCycle: "h23", timeZone: zone });
    clocks.set(zone, clock);
  }
  const parts = new Map(clock.formatToParts(ms).map((part) => [part.type, Number(part.value)]));
  const part = (name: Intl.DateTimeFormatPartTypes): number => parts.get(name) ?? 0;
  return Date.UTC(part("year"), part("month") - 1, part("day"), part("hour"), part("minute"), part("second"));
}

/** `2025-08-22`: the day of a moment. */
export function dayOf(ms: number, zone: string): string {
  return new Date(shown(ms, zone)).toISOString().slice(0, 10);
}

/** When a day begins. */
export function midnightOf(day: string, zone: string): number {
  const wanted = Date.parse(day);
  let at = wanted;
  for (let step = 0; step < 2; step += 1) at = wanted - (shown(at, zone) - at);
  return at;
}

/** The day so many days later. */
export function later(day: string, days: number): string {
  return new Date(Date.parse(day) + days * DAY_MS).toISOString().slice(0, 10);
}

export type PeriodKind = "day" | "week" | "month";

/** Whether a span is a whole day, week or month of a zone. */
export function kindOf(span: Span, zone: string): PeriodKind | null {
  const days = daysOf(span, zone);
  if (days === null) return null;
  const { first, last } = days;
  if (first === last) return "day";
  if (last === later(first, 6) && weekday(first) === 1) return "week";
  const month = first.slice(0, 7);
  return first.endsWith("-01") && last.startsWith(month) && !later(last, 1).startsWith(month) ? "month" : null;
}

/** What a span of whole days is called: `2025-11-04`, `2025-W44`, `2025-11`, `2025-11-04 to 2025-11-06`. */
export function nameOf(span: Span, zone: string): string | null {
  const days = daysOf(span, zone);
  if (days === null) return null;
  switch (kindOf(span, zone)) {
    case "day":
      return days.first;
    case "week":
      return week(days.first);
    case "month":
      return days.first.slice(0, 7);
    case null:
      return `${days.first} to ${days.last}`;
  }
}

/** The first and the last day of a span that is made of whole days. */
export function daysOf(span: Span, zone: string): { first: string; last: string } | null {
  const { start_ms, end_ms } = span;
  if (start_ms === undefined || end_ms === undefined || start_ms >= end_ms) return null;
  const first = dayOf(start_ms, zone);
  const last = dayOf(end_ms - 1, zone);
  return midnightOf(first, zone) === start_ms && midnightOf(later(last, 1), zone) === end_ms ? { first, last } : null;
}

/** The span of whole days from the first to the last. */
export function spanOfDays(first: string, last: string, zone: string): { start_ms: number; end_ms: number } {
  return { start_ms: midnightOf(first, zone), end_ms: midnightOf(later(last, 1), zone) };
}

/** `UTC`, or `New York` of `America/New_York`. */
export function zoneWord(zone: string): string {
  return zone.slice(zone.lastIndexOf("/") + 1).replaceAll("_", " ");
}

/** From Sunday, 0, to Saturday, 6. */
function weekday(day: string): number {
  return new Date(day).getUTCDay();
}

/** The ISO week that a Monday begins; it belongs to the year of its Thursday. */
function week(monday: string): string {
  const thursday = later(monday, 3);
  const year = thursday.slice(0, 4);
  const number = 1 + Math.floor((Date.parse(thursday) - Date.parse(`${year}-01-01`)) / (7 * DAY_MS));
  return `${year}-W${String(number).padStart(2, "0")}`;
}
