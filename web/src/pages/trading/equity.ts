/** The equity curve as the charts take it: stretches of the API, continued by live points, and the drawdown. */

import type { EquityCurve, EquityNow } from "../../lib/api/types";
import { DAY_MS } from "./filter";

export const RANGES = { "1d": DAY_MS, "1w": 7 * DAY_MS, "1m": 30 * DAY_MS, all: null } as const;

export type Range = keyof typeof RANGES;

/** Columns of one length, oldest first. */
export interface Curve {
  readonly times: readonly number[];
  readonly equity: readonly number[];
  readonly lows: readonly number[];
  readonly highs: readonly number[];
  readonly resolution: number;
}

export function curveOf(answer: EquityCurve): Curve {
  return {
    times: answer.time_ms,
    equity: answer.equity_quote,
    lows: answer.low_quote,
    highs: answer.high_quote,
    resolution: answer.resolution_ms,
  };
}

/** The curve with newer points: those of the last stretch change its value, later ones begin another. */
export function continued(curve: Curve, points: readonly EquityNow[]): Curve {
  const newer = points.filter((each) => each.time_ms > (curve.times.at(-1) ?? 0));
  if (newer.length === 0) return curve;
  const times = [...curve.times];
  const equity = [...curve.equity];
  const lows = [...curve.lows];
  const highs = [...curve.highs];
  for (const point of newer) {
    const last = times.length - 1;
    const value = point.equity_quote;
    if (last >= 0 && point.time_ms - (times[last] ?? 0) < curve.resolution) {
      equity[last] = value;
      lows[last] = Math.min(lows[last] ?? value, value);
      highs[last] = Math.max(highs[last] ?? value, value);
    } else {
      times.push(point.time_ms);
      equity.push(value);
      lows.push(value);
      highs.push(value);
    }
  }
  return { times, equity, lows, highs, resolution: curve.resolution };
}

/** How far the low of each stretch lies below the highest equity so far: 0 or negative. */
export function drawdowns(curve: Curve, peakBefore: number): number[] {
  let peak = peakBefore;
  return curve.equity.map((value, index) => {
    peak = Math.max(peak, curve.highs[index] ?? value);
    return peak > 0 ? Math.min(0, (curve.lows[index] ?? value) / peak - 1) : 0;
  });
}

/** The highest equity before `timeMs`, at least the capital. */
export function peakBefore(all: Curve | undefined, capital: number, timeMs: number): number {
  let peak = capital;
  all?.times.forEach((time, index) => {
    if (time <= timeMs) peak = Math.max(peak, all.highs[index] ?? capital);
  });
  return peak;
}
