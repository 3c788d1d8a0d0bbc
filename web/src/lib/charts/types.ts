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

/** One line, or row of columns, of an indicator: a value for each bar. */
export interface DrawnCurve {
  /** Told from the others of its indicator by it; empty where there are none. */
  readonly words: string;
  readonly kind: "line" | "columns";
  /** Which of the colours of series, counted from 0, or what the colour means. */
  readonly ink: number | Tone;
  readonly dash?: "solid" | "dashed" | "dotted";
  readonly width?: 1 | 2;
  readonly values: readonly (number | null)[];
  /** Whether the line ends at a bar, and begins anew at the next one. */
  readonly ends?: (bar: number) => boolean;
}

/** An indicator, over the candles or in a pane of its own. */
export interface DrawnStudy {
  readonly id: string;
  /** What it is, with its lengths: `EMA 20`. */
  readonly words: string;
  readonly curves: readonly DrawnCurve[];
  readonly format: (value: number | null) => string;
  /** Whether the space between its first curve and its last is shaded, and the price axis makes room for them. */
  readonly band?: boolean;
  /** Of a pane of its own: the ends of its scale, where they are fixed, and values that are ruled across it. */
  readonly pane?: { readonly range?: readonly [number, number]; readonly rules: readonly number[] };
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
