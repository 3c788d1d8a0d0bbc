/** Averages of the candles that are shown, drawn for the eye: no strategy decides by them. Pure. */

/**
 * The exponential moving average of `length` bars: it begins with the plain mean of the first ones, then each close
 * weighs 2 / (length + 1). Before that there is none.
 */
export function ema(closes: readonly number[], length: number): (number | null)[] {
  const weight = 2 / (length + 1);
  let sum = 0;
  let mean: number | null = null;
  return closes.map((close, index) => {
    if (index < length) sum += close;
    if (index === length - 1) mean = sum / length;
    else if (mean !== null) mean += weight * (close - mean);
    return mean;
  });
}
