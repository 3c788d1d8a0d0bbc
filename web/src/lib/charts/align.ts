/** Brings what has other times than the bars onto the bars: levels of scans, fills of minutes. Pure. */

export interface BarTimes {
  /** Open times, ascending. */
  readonly times: readonly number[];
  readonly length_ms: number;
}

/** Index of the last time at or before `ms`; -1 where all are later. */
export function lastAtOrBefore(times: readonly number[], ms: number): number {
  let low = 0;
  let high = times.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((times[middle] ?? Infinity) <= ms) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

/** Index of the bar in which `ms` lies, or of the last one before it; -1 before the first. */
export function barOf(bars: BarTimes, ms: number): number {
  return lastAtOrBefore(bars.times, ms);
}

/** Where a moment lies among the bars: a whole number is the middle of a bar, which lasts from half before it on. */
export function placeOf(bars: BarTimes, ms: number): number {
  const bar = Math.max(0, barOf(bars, ms));
  const open = bars.times[bar] ?? 0;
  const part = (ms - open) / bars.length_ms;
  const last = bar === bars.times.length - 1;
  return bar - 0.5 + (last ? part : Math.min(part, 1));
}

/** How many times longer the last scan stands. */
const LAST = 6;

/**
 * A level for each bar: that of the last scan at or before the bar's close, as it stood when the bar was over.
 * A scan is forgotten after `lasts_ms`, so that a break in the records is a break in the line; the last one stands
 * longer, as the next may be on its way.
 */
export function levelOnBars(
  bars: BarTimes,
  level: { readonly time_ms: readonly number[]; readonly price: readonly (number | null)[] },
  lasts_ms: number,
): (number | null)[] {
  const out: (number | null)[] = [];
  let scan = -1;
  for (const open of bars.times) {
    const close = open + bars.length_ms;
    while (scan + 1 < level.time_ms.length && (level.time_ms[scan + 1] ?? Infinity) <= close) scan += 1;
    const at = level.time_ms[scan];
    const lasts = scan === level.time_ms.length - 1 ? LAST * lasts_ms : lasts_ms;
    const fresh = at !== undefined && close - at < Math.max(lasts, bars.length_ms);
    out.push(fresh ? (level.price[scan] ?? null) : null);
  }
  return out;
}
