/** What strategies measured, with the units that their numbers have. What is not known here is a plain number. */

import { NOTHING, number, percent, price, words } from "../format";

type Written = (value: number) => string;

const CUT_NOISE = 1e-4; // of the last digit that is shown: what records of measurements, in float32, are off

/**
 * What must reach a threshold is cut off downwards and never rounded up, as in the sentences of the server: it meets
 * every threshold of so many decimals that the measurement itself meets, and no other.
 */
function cut(value: number, digits: number): number {
  const unit = 10 ** digits;
  const near = Math.round(value * unit);
  return (Math.abs(value * unit - near) < CUT_NOISE ? near : Math.floor(value * unit)) / unit;
}

const share: Written = (value) => percent(cut(value, 4));
const gain: Written = (value) => percent(cut(value, 4), { signed: true });
const times: Written = (value) => `${number(cut(value, 2))} × mean`;
/** Of the height of the channel; what must be low enough is cut off upwards. */
const place: Written = (value) =>
  value < 0 ? `${number(-cut(100 * value, 0), { digits: 0 })} % below` : `${number(-cut(-100 * value, 0), { digits: 0 })} % up`;
const whole: Written = (value) => number(value, { digits: 0 });
const yes: Written = (value) => (value > 0 ? "yes" : "no");

const SLOW_REGIMES = ["unknown", "neutral", "bull", "bear", "crash"];

const KNOWN: Readonly<Record<string, readonly [string, Written]>> = {
  high_4h: ["4 h high", price],
  drop: ["below it", share],
  volume_ratio: ["volume", times],
  slow_regime: ["slow regime", (value) => SLOW_REGIMES[value] ?? number(value)],
  resistance: ["resistance", price],
  breakout: ["from resistance", (value) => gain(value - 1)],
  rsi: ["RSI", (value) => number(cut(value, 1), { digits: 1 })],
  macd_hist: ["MACD hist.", (value) => (value < 0 ? "−" : "+") + price(Math.abs(value))],
  ema_20_4h: ["EMA20 4h", price],
  ema_50_4h: ["EMA50 4h", price],
  bull_flag: ["bull flag", yes],
  cup_and_handle: ["cup, handle", yes],
  ascending_triangle: ["asc. triangle", yes],
  upper: ["upper line", price],
  lower: ["lower line", price],
  slope: ["slope a bar", (value) => percent(value, { signed: true, digits: 3 })],
  direction: ["direction", (value) => (value > 0 ? "ascending" : value < 0 ? "descending" : "horizontal")],
  strength: ["strength", (value) => number(cut(value, 2))],
  touches_upper: ["touches above", whole],
  touches_lower: ["touches below", whole],
  width: ["width", share],
  place: ["in the channel", place],
  target: ["target", gain],
};

export interface Measurement {
  readonly name: string;
  readonly label: string;
  readonly text: string;
}

/** The measurements of one scan, in the order in which the strategy names them. */
export function measurements(values: Readonly<Record<string, number | null | undefined>>): Measurement[] {
  return Object.entries(values).map(([name, value]) => {
    const [label, written] = KNOWN[name] ?? [words(name), (plain: number) => number(plain, { digits: 4 })];
    return { name, label, text: value === null || value === undefined ? NOTHING : written(value) };
  });
}
