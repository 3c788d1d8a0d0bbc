/** What the charts are given: plain numbers and words. */

import type { Tone } from "./palette";

/** One series over time; what has no value at a time is null. */
export interface LineSeriesData {
  readonly id: string;
  readonly label: string;
  /** `baseline` is filled up or down from `level`; it needs one. */
  readonly kind: "area" | "line" | "baseline";
  readonly tone: Tone;
  readonly times: readonly number[];
  readonly values: readonly (number | null)[];
  readonly dashed?: boolean;
  readonly thin?: boolean;
  /** Whether it stays what it was until it moves, instead of going straight from point to point. */
  readonly steps?: boolean;
}

/** A stretch of time that is shaded. */
export interface Band {
  readonly start_ms: number;
  readonly end_ms: number;
  readonly label: string;
  readonly tone: Tone;
}

/** A value that is ruled across the whole chart. */
export interface Level {
  readonly value: number;
  readonly label: string;
  readonly tone?: Tone;
}

/** What stands under the crosshair. */
export interface Reading {
  readonly time_ms: number;
  readonly values: readonly { readonly id: string; readonly value: number | null }[];
}

/** Closed bars, ascending; the last one may still grow. */
export interface Bars {
  readonly times: readonly number[];
  readonly open: readonly number[];
  readonly high: readonly number[];
  readonly low: readonly number[];
  readonly close: readonly number[];
  readonly volume: readonly (number | null)[];
  readonly length_ms: number;
}

/** A straight line between two places among the bars; a whole number is the middle of a bar. */
export interface DrawnStraight {
  readonly from: number;
  readonly to: number;
  readonly from_price: number;
  readonly to_price: number;
}

/** One level of a strategy, already on the bars. */
export interface DrawnLevel {
  readonly id: string;
  readonly words: string;
  /** Which of the colours of series, counted from 0. */
  readonly colour: number;
  readonly dash: "solid" | "dashed" | "dotted";
  readonly values: readonly (number | null)[];
  /** Drawn instead of steps, oldest first; the last one is the newest. */
  readonly straight?: readonly DrawnStraight[];
}

/** An average of the closes, one value for each bar. */
export interface DrawnAverage {
  readonly words: string;
  /** Which of the colours of series, counted from 0. */
  readonly colour: number;
  readonly values: readonly (number | null)[];
}

/** One fill, already on its bar. */
export interface DrawnMark {
  readonly id: string;
  readonly bar: number;
  readonly kind: "buy" | "rung" | "sell";
  readonly tone: Tone;
  readonly words: string;
}

/** A trade from its average entry to its last sale. */
export interface DrawnTrip {
  readonly from: number;
  readonly to: number;
  readonly from_price: number;
  readonly to_price: number;
  readonly tone: Tone;
}
