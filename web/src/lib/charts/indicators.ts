/**
 * What traders know from every chart, computed from the candles that are here, for the eye: no strategy decides by it.
 * Each value reads its own candle and earlier ones; before the candles that its definition needs there is none. The
 * definitions are those of the features of strategies. Pure.
 */

import type { Bars } from "./types";

/** One for each candle; null where there is none. */
export type Values = readonly (number | null)[];

export interface Bollinger {
  readonly upper: Values;
  readonly middle: Values;
  readonly lower: Values;
}

export interface Macd {
  readonly line: Values;
  readonly signal: Values;
  /** Line less signal. */
  readonly histogram: Values;
}

const DAY_MS = 86_400_000;

/** The plain mean of the last `length` closes. Each window is added up anew: candles before it leave no trace. */
export function sma(closes: readonly number[], length: number): Values {
  return closes.map((_, last) => (last < length - 1 ? null : meanOf(closes, last, length)));
}

/**
 * The exponential moving average of `length` bars: it begins with the plain mean of the first ones, then each close
 * weighs 2 / (length + 1). Before that there is none. After 5 x `length` bars less than 0.01 % of how it began is left.
 */
export function ema(closes: Values, length: number): Values {
  return smoothed(closes, length, 2 / (length + 1));
}

/**
 * The mean of the last `length` closes, and bands `deviations` population standard deviations (divided by n) above and
 * below it. Source: J. Bollinger, Bollinger on Bollinger Bands, 2001.
 */
export function bollinger(closes: readonly number[], length: number, deviations: number): Bollinger {
  const middle = sma(closes, length);
  const reach = middle.map((mean, last) => {
    if (mean === null) return null;
    let squares = 0;
    for (let index = last - length + 1; index <= last; index += 1) squares += ((closes[index] ?? NaN) - mean) ** 2;
    return deviations * Math.sqrt(squares / length);
  });
  return { upper: together(middle, reach, (mean, by) => mean + by), middle, lower: together(middle, reach, (mean, by) => mean - by) };
}

/**
 * The mean price of a day of UTC up to each candle, weighted by volume; of a candle (high + low + close) / 3 counts.
 * There is none on a day whose first candle is not here, nor behind a candle whose volume is not known. Source: of the
 * mean, S. Berkowitz, D. Logue and E. Noser, The Total Cost of Transactions on the NYSE, 1988.
 */
export function vwap(bars: Bars): Values {
  let money = NaN;
  let volume = NaN;
  return bars.times.map((time, index) => {
    const before = bars.times[index - 1];
    const begins = before === undefined ? time % DAY_MS === 0 : Math.floor(time / DAY_MS) > Math.floor(before / DAY_MS);
    if (begins) money = volume = 0;
    const traded = bars.volume[index] ?? NaN;
    money += (((bars.high[index] ?? NaN) + (bars.low[index] ?? NaN) + (bars.close[index] ?? NaN)) / 3) * traded;
    volume += traded;
    return volume > 0 ? money / volume : null;
  });
}

/**
 * Wilder's relative strength index, 0 to 100: 100 x mean gain / (mean gain + mean loss) from close to close. Both means
 * begin with the plain mean of the first `length` changes, then each change weighs 1 / length. The first value is at bar
 * `length + 1`; none while nothing has moved. Source: J. W. Wilder, New Concepts in Technical Trading Systems, 1978.
 */
export function rsi(closes: readonly number[], length: number): Values {
  const moves = closes.map((close, index) => (index === 0 ? null : close - (closes[index - 1] ?? NaN)));
  const part = (sign: number): Values => moves.map((move) => (move === null ? null : Math.max(sign * move, 0)));
  const gain = smoothed(part(1), length, 1 / length);
  const loss = smoothed(part(-1), length, 1 / length);
  return together(gain, loss, (up, down) => (up + down > 0 ? (100 * up) / (up + down) : null));
}

/**
 * Wilder's average true range, in quote currency: the mean of max(high, close before) - min(low, close before), begun and
 * weighted as that of `rsi`. The first value is at bar `length + 1`. Source: Wilder, 1978.
 */
export function atr(bars: Bars, length: number): Values {
  const ranges = bars.times.map((_, index) => {
    const before = bars.close[index - 1];
    if (before === undefined) return null;
    return Math.max(bars.high[index] ?? NaN, before) - Math.min(bars.low[index] ?? NaN, before);
  });
  return smoothed(ranges, length, 1 / length);
}

/**
 * EMA(fast) less EMA(slow) of the closes, and the EMA(signal) of that; each begins with the plain mean of its own first
 * ones. Source: G. Appel, 1979.
 */
export function macd(closes: readonly number[], fast: number, slow: number, signal: number): Macd {
  const line = together(ema(closes, fast), ema(closes, slow), (quick, calm) => quick - calm);
  const follows = ema(line, signal);
  return { line, signal: follows, histogram: together(line, follows, (one, other) => one - other) };
}

/** The mean of the `length` values up to and with that at `last`. */
function meanOf(values: readonly number[], last: number, length: number): number {
  let sum = 0;
  for (let index = last - length + 1; index <= last; index += 1) sum += values[index] ?? NaN;
  return sum / length;
}

/** A mean that begins with the plain one of the first `length` values, and moves by `weight` to each further one. */
function smoothed(values: Values, length: number, weight: number): Values {
  let sum = 0;
  let seen = 0;
  let mean: number | null = null;
  return values.map((value) => {
    if (value === null) return mean;
    seen += 1;
    if (seen <= length) sum += value;
    if (seen === length) mean = sum / length;
    else if (mean !== null) mean += weight * (value - mean);
    return mean;
  });
}

function together(one: Values, other: Values, join: (one: number, other: number) => number | null): Values {
  return one.map((value, index) => {
    const beside = other[index] ?? null;
    return value === null || beside === null ? null : join(value, beside);
  });
}
