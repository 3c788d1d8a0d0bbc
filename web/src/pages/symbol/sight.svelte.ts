/** Which span of levels and fills is wanted: what is in sight and as much at either side, asked for now and then. */

import type { Bars } from "$lib/charts/types";

const DAY_MS = 86_400_000;
/** What the API draws at once. */
const SPAN_MAX_MS = 399 * DAY_MS;
const WAIT_MS = 180;

export interface Span {
  readonly start_ms: number;
  readonly end_ms: number;
}

export class Sight {
  span = $state.raw<Span | undefined>(undefined);
  #timer = 0;

  reset(): void {
    clearTimeout(this.#timer);
    this.span = undefined;
  }

  /** The bars with these indices are in sight now. */
  see(bars: Bars, from: number, to: number): void {
    const first = bars.times[Math.max(0, Math.floor(from))];
    const last = bars.times[Math.min(bars.times.length - 1, Math.ceil(to))];
    if (first === undefined || last === undefined) return;
    const seen = { start_ms: first, end_ms: last + bars.length_ms };
    if (this.span !== undefined && suits(this.span, seen)) return;
    const around = padded(seen);
    clearTimeout(this.#timer);
    if (this.span === undefined) this.span = around;
    else this.#timer = window.setTimeout(() => (this.span = around), WAIT_MS);
  }
}

/** Whether what was fetched holds what is seen, and not so much more that its lines are too coarse. */
function suits(span: Span, seen: Span): boolean {
  const length = seen.end_ms - seen.start_ms;
  const longest = span.end_ms - span.start_ms;
  if (seen.end_ms > span.end_ms) return false;
  if (seen.start_ms < span.start_ms && longest < SPAN_MAX_MS) return false;
  return longest <= 8 * length;
}

function padded(seen: Span): Span {
  const length = seen.end_ms - seen.start_ms;
  const end_ms = seen.end_ms + length;
  const start_ms = Math.max(0, seen.start_ms - length);
  return { start_ms: Math.max(start_ms, end_ms - SPAN_MAX_MS), end_ms };
}
