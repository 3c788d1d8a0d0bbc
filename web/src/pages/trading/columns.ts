/** Columns on an axis of time: days, weeks or months one after the other, whether trades closed in them or not. */

import type { Period } from "../../lib/api/types";
import { dayOf, later, midnightOf, nameOf, type PeriodKind } from "../../lib/days";

/** A place on the axis; without a trade it is empty. */
export interface Slot {
  readonly start_ms: number;
  readonly end_ms: number;
  /** `2025-08-22`, `2025-W34`, `2025-08`. */
  readonly name: string;
  readonly period: Period | undefined;
}

/** More would be too narrow to be pointed at. */
export const SLOTS_MAX = 62;

const DAYS = { day: 1, week: 7 } as const;

/** The first day of what follows. */
function next(day: string, kind: PeriodKind): string {
  return kind === "month" ? `${later(`${day.slice(0, 7)}-28`, 4).slice(0, 7)}-01` : later(day, DAYS[kind]);
}

/** The newest places from the first period to `until`, or to the last period where that is later; oldest first. */
export function slotsOf(periods: readonly Period[], kind: PeriodKind, zone: string, until: number): Slot[] {
  if (periods.length === 0) return [];
  const known = new Map(periods.map((period) => [period.start_ms, period]));
  const end = Math.max(until, ...periods.map((period) => period.end_ms));
  const slots: Slot[] = [];
  let day = dayOf(Math.min(...known.keys()), zone);
  const newest = later(dayOf(end - 1, zone), 1 - SLOTS_MAX);
  if (kind === "day" && day < newest) day = newest;
  for (let start_ms = midnightOf(day, zone); start_ms < end; ) {
    day = next(day, kind);
    const end_ms = midnightOf(day, zone);
    const name = nameOf({ start_ms, end_ms }, zone) ?? "";
    slots.push({ start_ms, end_ms, name, period: known.get(start_ms) });
    start_ms = end_ms;
  }
  return slots.slice(-SLOTS_MAX);
}

const NICE = [1, 2, 2.5, 5, 10] as const;
/** So many distances between round values at most. */
const INTERVALS = 5;

/** From the least to the most of these and 0, and the round values between. */
export interface Scale {
  readonly least: number;
  readonly most: number;
  readonly ticks: readonly number[];
}

export function scaleOf(values: readonly number[]): Scale {
  const least = Math.min(0, ...values);
  const highest = Math.max(0, ...values);
  const most = highest > least ? highest : 1;
  const rough = (most - least) / INTERVALS;
  const unit = 10 ** Math.floor(Math.log10(rough));
  const step = unit * (NICE.find((each) => each * unit >= rough * (1 - 1e-9)) ?? 10);
  const from = Math.ceil(least / step - 1e-9);
  const to = Math.floor(most / step + 1e-9);
  return { least, most, ticks: Array.from({ length: to - from + 1 }, (_, index) => (from + index) * step) };
}

const LABELS = 5;

/** Which of so many places are named below: evenly spaced, the newest always. */
export function named(count: number): number[] {
  const every = Math.max(1, Math.ceil(count / LABELS));
  return Array.from({ length: count }, (_, index) => index).filter((index) => (count - 1 - index) % every === 0);
}
