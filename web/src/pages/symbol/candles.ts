/** Bars as columns, and how pages of them and live ones join. Pure: nothing is changed in place. */

import type { BarNow, Candles } from "$lib/api/types";
import { lastAtOrBefore } from "$lib/charts/align";
import type { Bars } from "$lib/charts/types";

export const TIMEFRAMES = { "1m": 1, "5m": 5, "15m": 15, "1h": 60, "4h": 240, "1d": 1440 } as const;
export type TimeframeCode = keyof typeof TIMEFRAMES;

/** Beyond so many bars the oldest are let go of; they are fetched again when somebody scrolls there. */
export const BARS_MAX = 12_000;
const BARS_KEPT = 8_000;

export function lengthOf(timeframe: TimeframeCode): number {
  return TIMEFRAMES[timeframe] * 60_000;
}

export function isTimeframe(text: string | undefined): text is TimeframeCode {
  return text !== undefined && Object.hasOwn(TIMEFRAMES, text);
}

export function noBars(length_ms: number): Bars {
  return { times: [], open: [], high: [], low: [], close: [], volume: [], length_ms };
}

/** One page of the API. */
export function barsOf(page: Candles, length_ms: number): Bars {
  const { time_ms: times, open, high, low, close, volume } = page;
  return { times, open, high, low, close, volume, length_ms };
}

function each(bars: Bars, take: <T>(column: readonly T[]) => readonly T[]): Bars {
  return {
    times: take(bars.times),
    open: take(bars.open),
    high: take(bars.high),
    low: take(bars.low),
    close: take(bars.close),
    volume: take(bars.volume),
    length_ms: bars.length_ms,
  };
}

/** The bars that open before `time`. */
function before(bars: Bars, time: number | undefined): Bars {
  const end = time === undefined ? bars.times.length : lastAtOrBefore(bars.times, time - 1) + 1;
  return each(bars, (column) => column.slice(0, end));
}

/** The bars that open after `time`. */
function after(bars: Bars, time: number | undefined): Bars {
  const start = time === undefined ? bars.times.length : lastAtOrBefore(bars.times, time) + 1;
  return each(bars, (column) => column.slice(start));
}

/** `earlier` before `bars`; where both have a bar, `bars` has it. */
export function prepended(earlier: Bars, bars: Bars): Bars {
  return joined(before(earlier, bars.times[0]), bars);
}

/** `later` behind `bars`; where both have a bar, `later` has it. What is newer than both stays. */
export function appended(bars: Bars, later: Bars): Bars {
  return joined(joined(before(bars, later.times[0]), later), after(bars, later.times.at(-1)));
}

/** The bars with others instead of those that open from `start` on and before `end`. */
export function mended(bars: Bars, start: number, end: number, page: Bars): Bars {
  const instead = before(after(page, start - 1), end);
  return joined(joined(before(bars, start), instead), after(bars, end - 1));
}

function joined(first: Bars, second: Bars): Bars {
  return {
    times: [...first.times, ...second.times],
    open: [...first.open, ...second.open],
    high: [...first.high, ...second.high],
    low: [...first.low, ...second.low],
    close: [...first.close, ...second.close],
    volume: [...first.volume, ...second.volume],
    length_ms: second.length_ms,
  };
}

/** The bars with live ones: the last one grew, new ones came, or a closed one came late. Those before the first are
 * left out, and so is what an older one was while it grew. `more` bars were scrolled to, and are not counted among those
 * that are too many. */
export function withLive(bars: Bars, live: readonly BarNow[], more = 0): Bars {
  let now = bars;
  for (const bar of live) {
    const [first, last] = [now.times[0], now.times.at(-1)];
    if (first !== undefined && bar.time_ms < first) continue;
    if (last !== undefined && bar.time_ms < last && !bar.closed) continue;
    const one: Bars = {
      times: [bar.time_ms],
      open: [bar.open],
      high: [bar.high],
      low: [bar.low],
      close: [bar.close],
      volume: [bar.volume],
      length_ms: bars.length_ms,
    };
    now = appended(now, one);
  }
  return now.times.length > BARS_MAX + more ? each(now, (column) => column.slice(-BARS_KEPT)) : now;
}
