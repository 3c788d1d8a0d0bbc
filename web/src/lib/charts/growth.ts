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
