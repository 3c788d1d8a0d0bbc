/** Whether bars only grew, so that the rest of a drawing can stay as it is. Pure. */

import type { Bars } from "./types";

/** Whether `now` is `before` with another last bar, or with more bars behind it; all others are as they were. */
export function grewAtEnd(before: Bars, now: Bars): boolean {
  const last = before.times.length - 1;
  if (now.length_ms !== before.length_ms || now.times[last] !== before.times[last]) return false;
  const columns: [readonly unknown[], readonly unknown[]][] = [
    [before.times, now.times],
    [before.open, now.open],
    [before.high, now.high],
    [before.low, now.low],
    [before.close, now.close],
    [before.volume, now.volume],
  ];
  for (const [one, other] of columns) {
    for (let index = 0; index < last; index += 1) if (one[index] !== other[index]) return false;
  }
  return true;
}

interface Curve {
  readonly times: readonly number[];
  readonly values: readonly (number | null)[];
}

/** Index of the first point that is not as it was, or not there before; 0 where points are gone. */
export function changedFrom(before: Curve, now: Curve): number {
  if (before.times.length > now.times.length) return 0;
  for (let index = 0; index < before.times.length; index += 1) {
    if (before.times[index] !== now.times[index] || before.values[index] !== now.values[index]) return index;
  }
  return before.times.length;
}

/** Whether a value lies further from zero than the one before it. */
export function deeper(values: readonly (number | null)[], index: number): boolean {
  return Math.abs(values[index] ?? 0) >= Math.abs(values[index - 1] ?? 0);
}
