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
