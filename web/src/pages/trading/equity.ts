/** The equity curve as the charts take it: stretches of the API, continued by live points, and the drawdown. */

import type { EquityCurve, EquityNow } from "../../lib/api/types";
import { DAY_MS } from "./filter";

export const RANGES = { "1d": DAY_MS, "1w": 7 * DAY_MS, "1m": 30 * DAY_MS, all: null } as const;

export type Range = keyof typeof RANGES;

export function isRange(text: string | undefined): text is Range {
  return text !== undefined && Object.hasOwn(RANGES, text);
}

/** Columns of one length, oldest first. */
export interface Curve {
  readonly times: readonly number[];
  readonly equity: readonly number[];
  readonly lows: readonly number[];
  readonly highs: readonly number[];
  /** The deepest drawdown within each stretch, 0 or positive. */
  readonly falls: readonly number[];
  readonly resolution: number;
  /** The highest equity before the first stretch, at least the capital. */
  readonly peakBefore: number;
  /** Of when the newest value is. */
  readonly until: number;
}

export function curveOf(answer: EquityCurve): Curve {
  return {
    times: answer.time_ms,
    equity: answer.equity_quote,
    lows: answer.low_quote,
    highs: answer.high_quote,
    falls: answer.drawdown,
    resolution: answer.resolution_ms,
    peakBefore: answer.peak_before_quote,
    until: answer.time_ms.at(-1) ?? 0,
  };
}

/** Which stretch the close of a minute belongs to: they end at round times. */
function stretchOf(curve: Curve, closeMs: number): number {
  return Math.ceil(closeMs / curve.resolution);
}

/**
 * The curve with newer points: those of the last stretch change it, later ones begin another. Undefined where the
 * first of them lies more than a stretch behind the curve: what is between must be fetched.
 */
export function continued(curve: Curve, points: readonly EquityNow[]): Curve | undefined {
  const newer = points.filter((each) => each.time_ms > curve.until);
  const next = newer[0];
  const newest = newer.at(-1);
  if (next === undefined || newest === undefined) return curve;
  if (curve.times.length > 0 && next.time_ms - curve.until > curve.resolution) return undefined;
  const times = [...curve.times];
  const equity = [...curve.equity];
  const lows = [...curve.lows];
  const highs = [...curve.highs];
  const falls = [...curve.falls];
  for (const point of newer) {
    const last = times.length - 1;
    const value = point.equity_quote;
    if (last >= 0 && stretchOf(curve, point.time_ms) === stretchOf(curve, times[last] ?? 0)) {
      times[last] = point.time_ms;
      equity[last] = value;
      lows[last] = Math.min(lows[last] ?? value, value);
      highs[last] = Math.max(highs[last] ?? value, value);
      falls[last] = Math.max(falls[last] ?? 0, point.drawdown);
    } else {
      times.push(point.time_ms);
      equity.push(value);
      lows.push(value);
      highs.push(value);
      falls.push(point.drawdown);
    }
  }
  return { ...curve, times, equity, lows, highs, falls, until: newest.time_ms };
}

/** So many stretches without a point are a gap, and drawn as one. */
const GAP_STRETCHES = 3;
/** A gap is as wide as it was long, up to so many points. */
const GAP_POINTS = 60;

/** Times and values with nothing where nothing is known: a line across it would tell of what nobody saw. */
export function gapped(
  times: readonly number[],
  values: readonly number[],
  resolution: number,
): { times: readonly number[]; values: readonly (number | null)[] } {
  const outTimes: number[] = [];
  const outValues: (number | null)[] = [];
  times.forEach((time, index) => {
    const gap = time - (times[index - 1] ?? time);
    if (gap > GAP_STRETCHES * resolution) {
      const step = Math.ceil(gap / GAP_POINTS / resolution) * resolution;
      for (let missing = (Math.floor((time - gap) / step) + 1) * step; missing < time; missing += step) {
        outTimes.push(missing);
        outValues.push(null);
      }
    }
    outTimes.push(time);
    outValues.push(values[index] ?? null);
  });
  return { times: outTimes, values: outValues };
}

/**
 * A curve that moves only at the times that it has, on an even axis: between two of them it stays what it was, and
 * so until `until`.
 */
export function stepped(
  times: readonly number[],
  values: readonly number[],
  resolution: number,
  until: number,
): { times: readonly number[]; values: readonly number[] } {
  const outTimes: number[] = [];
  const outValues: number[] = [];
  times.forEach((time, index) => {
    const value = values[index];
    if (value === undefined) return;
    outTimes.push(time);
    outValues.push(value);
    const end = times[index + 1] ?? until;
    for (let still = (Math.floor(time / resolution) + 1) * resolution; still < end; still += resolution) {
      outTimes.push(still);
      outValues.push(value);
    }
  });
  return { times: outTimes, values: outValues };
}

/** A curve as it is drawn: marked to the market at every minute, or in steps where only closed trades were kept. */
export function lineOf(
  curve: Curve,
  values: readonly number[],
  marked: boolean,
  until: number,
): { times: readonly number[]; values: readonly (number | null)[]; steps: boolean } {
  const { times, resolution } = curve;
  const drawn = marked ? gapped(times, values, resolution) : stepped(times, values, resolution, until);
  return { ...drawn, steps: !marked };
}

/** How far the equity at the end of each stretch lies below the highest so far: 0 or negative. */
export function drawdowns(curve: Curve): number[] {
  let peak = curve.peakBefore;
  return curve.equity.map((value, index) => {
    peak = Math.max(peak, curve.highs[index] ?? value);
    return peak > 0 ? Math.min(0, value / peak - 1) : 0;
  });
}

/** How far it lay below at the deepest of each stretch: 0 or negative. */
export function deepest(curve: Curve): number[] {
  return curve.falls.map((fall) => (fall > 0 ? -fall : 0));
}
