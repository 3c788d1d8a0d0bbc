/** Where days and hours begin on a time axis, and how its ticks are written: in a zone of its own. */

/** `local` is the viewer's zone; `utc` is for bars that are themselves days of UTC. */
export type Zone = "local" | "utc";

export type Unit = "year" | "month" | "day" | "minute";

/** How heavy a tick is, in the library's own scale: the heavier ones stay when there is little room. */
export const WEIGHTS = {
  year: 70,
  month: 60,
  day: 50,
  hour12: 33,
  hour6: 32,
  hour3: 31,
  hour1: 30,
  minute30: 22,
  minute5: 21,
  minute1: 20,
  less: 0,
} as const;

const MINUTE = 60_000;
const WITHIN_A_DAY: readonly (readonly [number, number])[] = [
  [12 * 60 * MINUTE, WEIGHTS.hour12],
  [6 * 60 * MINUTE, WEIGHTS.hour6],
  [3 * 60 * MINUTE, WEIGHTS.hour3],
  [60 * MINUTE, WEIGHTS.hour1],
  [30 * MINUTE, WEIGHTS.minute30],
  [5 * MINUTE, WEIGHTS.minute5],
  [MINUTE, WEIGHTS.minute1],
];

/** The moment as a clock on the wall of the zone shows it, written as if that were UTC. */
export function onTheWall(ms: number, zone: Zone): number {
  return zone === "utc" ? ms : ms - new Date(ms).getTimezoneOffset() * MINUTE;
}

/** What begins at `wall` and had not begun at `before` (both from `onTheWall`). */
export function weight(wall: number, before: number): number {
  const now = new Date(wall);
  const then = new Date(before);
  if (now.getUTCFullYear() !== then.getUTCFullYear()) return WEIGHTS.year;
  if (now.getUTCMonth() !== then.getUTCMonth()) return WEIGHTS.month;
  if (now.getUTCDate() !== then.getUTCDate()) return WEIGHTS.day;
  for (const [length, heavy] of WITHIN_A_DAY) {
    if (Math.floor(wall / length) !== Math.floor(before / length)) return heavy;
  }
  return WEIGHTS.less;
}

/** What a tick of this weight names. */
export function unitOf(heavy: number): Unit {
  if (heavy >= WEIGHTS.year) return "year";
  if (heavy >= WEIGHTS.month) return "month";
  return heavy >= WEIGHTS.day ? "day" : "minute";
}

const FORMATS: Readonly<Record<Unit | "crosshair" | "weekday" | "date", Intl.DateTimeFormatOptions>> = {
  year: { year: "numeric" },
  month: { month: "short" },
  day: { day: "numeric", month: "short" },
  minute: { hour: "2-digit", minute: "2-digit", hourCycle: "h23" },
  weekday: { weekday: "short", hour: "2-digit", minute: "2-digit", hourCycle: "h23" },
  crosshair: { weekday: "short", day: "2-digit", month: "short", hour: "2-digit", minute: "2-digit", hourCycle: "h23" },
  date: { weekday: "short", day: "2-digit", month: "short", year: "numeric" },
};

const formatters = new Map<string, Intl.DateTimeFormat>();

function written(ms: number, zone: Zone, format: keyof typeof FORMATS): string {
  const key = `${zone} ${format}`;
  let formatter = formatters.get(key);
  if (formatter === undefined) {
    const place = zone === "utc" ? { timeZone: "UTC" } : {};
    formatter = new Intl.DateTimeFormat("en-GB", { ...FORMATS[format], ...place });
    formatters.set(key, formatter);
  }
  return formatter.format(ms);
}

/** The text of one tick. */
export function tick(ms: number, unit: Unit, zone: Zone): string {
  return written(ms, zone, unit);
}

/** The text under the crosshair: the minute in the viewer's zone and in UTC, or the day of UTC. */
export function moment(ms: number, zone: Zone): string {
  if (zone === "utc") return `${written(ms, zone, "date")} UTC`;
  const here = written(ms, zone, "crosshair");
  const wall = onTheWall(ms, zone);
  if (wall === ms) return `${here} UTC`;
  const sameDay = new Date(wall).getUTCDate() === new Date(ms).getUTCDate();
  return `${here} (${written(ms, "utc", sameDay ? "minute" : "weekday")} UTC)`;
}
