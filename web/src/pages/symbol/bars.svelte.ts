/** The bars of one symbol and timeframe: a page around a moment, earlier and later ones as one scrolls, live ones. */

import { get, Problem } from "$lib/api/client";
import { live } from "$lib/api/live.svelte";
import { paced } from "$lib/api/resource.svelte";
import type { BarNow, Candles } from "$lib/api/types";
import { lastAtOrBefore } from "$lib/charts/align";
import type { Bars } from "$lib/charts/types";

import { appended, barsOf, lengthOf, mended, noBars, prepended, withLive, type TimeframeCode } from "./candles";

const PAGE = 600;
const MORE = 1_000;
const RETRY_MS = 4_000;
/** However often bars are mended, a page of them is fetched once in this time at most. */
const MEND_MS = 1_000;
/** So many bars behind a moment come with it. */
const AHEAD = 200;

/** The times [start, end). */
interface Span {
  start: number;
  end: number;
}

export function barsTopic(symbol: string, timeframe: TimeframeCode): `bars:${string}` {
  return `bars:${symbol}@${timeframe}`;
}

export class BarStore {
  bars = $state.raw<Bars>(noBars(60_000));
  problem = $state.raw<Problem | undefined>(undefined);
  loading = $state(true);
  provider = $state("");
  /** Whether the last bar is the newest that there is, so that live ones follow it. */
  present = $state(true);
  /** The moment at which what is in sight ends, in every timeframe; Infinity at the newest bar, undefined before any was seen. */
  place: number | undefined;

  #symbol = "";
  #timeframe: TimeframeCode = "15m";
  #earlier = false;
  #number = 0;
  #busy = false;
  #retry = 0;
  #scrolled = 0; // so many bars were scrolled to
  #taken: BarNow[] = []; // what came live since the newest page was asked for
  #mended: Span | undefined; // bars that are here, and may be others by now
  #mending: Span | undefined; // what is left of those that are being fetched: all whose answer was not taken yet
  #pace = paced(() => this.#mendNext(), MEND_MS);

  /**
   * Fetches a page that holds what was in sight last, else `around`, else the newest one, and follows what is new;
   * returns how to stop. Bars of the same symbol and timeframe that are here already stay until they are fetched anew,
   * page by page. While the stream does not tell of them yet nothing is fetched: it is opened again then.
   */
  open(symbol: string, timeframe: TimeframeCode, around: number | undefined, newest_ms: number, told: boolean): () => void {
    const length_ms = lengthOf(timeframe);
    if (symbol !== this.#symbol || timeframe !== this.#timeframe) {
      this.#mended = this.#mending = undefined;
      this.bars = noBars(length_ms);
      this.loading = true;
    }
    this.#symbol = symbol;
    this.#timeframe = timeframe;
    const wanted = this.place ?? around;
    const far = wanted !== undefined && wanted + AHEAD * length_ms < newest_ms;
    const last = this.bars.times.at(-1);
    if (told && last !== undefined && !this.present) {
      this.problem = undefined;
      this.mend(-Infinity, last + length_ms);
    } else if (told) this.#page(far && last === undefined ? wanted : undefined);
    const topic = barsTopic(symbol, timeframe);
    const release = live.want([topic]);
    const off = live.on(topic, (event) => {
      if (event.type === "mended") this.mend(event.start_ms, event.end_ms);
      else this.take(event.items.filter((bar) => bar.symbol === symbol && bar.timeframe === timeframe));
    });
    document.addEventListener("visibilitychange", this.#pace.seen);
    return () => {
      release();
      off();
      document.removeEventListener("visibilitychange", this.#pace.seen);
      this.#pace.cancel();
      clearTimeout(this.#retry);
      this.#number += 1;
      this.#busy = false; // nobody takes the answer that is under way
    };
  }

  /** The last bar that is wholly in sight has this index. The same bar leaves the place at its moment. */
  see(to: number): void {
    const { times, length_ms } = this.bars;
    const bar = Math.floor(to + 0.05);
    if (this.place !== undefined && lastAtOrBefore(times, this.place - 1) === bar) return;
    const open = times[Math.min(bar, times.length - 1)];
    if (open === undefined) return;
    this.place = this.present && bar >= times.length - 1 ? Infinity : open + length_ms;
  }

  /** Live bars: the last one grew, or others follow it. */
  take(live: readonly BarNow[]): void {
    if (this.#busy) this.#taken.push(...live);
    if (!this.loading && this.present) this.#follow(live);
  }

  #follow(live: readonly BarNow[]): void {
    if (live.length === 0) return;
    const first = this.bars.times[0];
    this.bars = withLive(this.bars, live, this.#scrolled);
    if (first === undefined || first === this.bars.times[0]) return;
    this.#earlier = true; // what was let go of can be scrolled back to
    this.#scrolled = 0;
  }

  /** Bars of a span may be others now: those of it that are here are fetched again, and nothing else. */
  mend(start: number, end: number): void {
    const known = this.#mended ?? { start, end };
    this.#mended = { start: Math.min(known.start, start), end: Math.max(known.end, end) };
    this.#mendSoon();
  }

  #mendSoon(): void {
    if (!this.#busy && this.problem === undefined && (this.#mending ?? this.#mended) !== undefined) this.#pace.ask();
  }

  /** Fetches the last page of what may be others; what is mended meanwhile waits until all of that is fetched. */
  #mendNext(): void {
    if (this.#busy || this.problem !== undefined) return;
    const span = this.#mending ?? this.#mended;
    if (this.#mending === undefined) this.#mended = undefined;
    if (span !== undefined && this.#newer(span)) {
      this.#mended = this.#mending = undefined;
      this.#page(undefined);
      return;
    }
    this.#mending = span && this.#here(span);
    if (this.#mending === undefined) {
      this.#mendSoon();
      return;
    }
    const { length_ms } = this.bars;
    const { start, end } = this.#mending;
    const from = Math.max(start, end - MORE * length_ms);
    void this.#read({ before_ms: end, limit: Math.round((end - from) / length_ms) }, (page) => {
      this.#mending = from > start ? { start, end: from } : undefined;
      this.bars = mended(this.bars, from, end, barsOf(page, length_ms));
    });
  }

  /** Whether a span reaches so far behind the bars here that these are no longer the newest. */
  #newer(span: Span): boolean {
    const last = this.bars.times.at(-1);
    return last === undefined || (this.present && span.end > last + MORE * this.bars.length_ms);
  }

  /** So much of a span as the bars here reach over; to the present, where that is shown. */
  #here(span: Span): Span | undefined {
    const [first, last] = [this.bars.times[0], this.bars.times.at(-1)];
    if (first === undefined || last === undefined) return undefined;
    if (span.start < first) this.#earlier = true; // there may be bars now where there were none
    const start = Math.max(span.start, first);
    const end = this.present ? span.end : Math.min(span.end, last + this.bars.length_ms);
    return start < end ? { start, end } : undefined;
  }

  /** Leaves the bars that are here for those around another moment, or for the newest ones. */
  move(around: number | undefined): void {
    this.bars = noBars(this.bars.length_ms);
    this.place = undefined;
    this.#mended = this.#mending = undefined;
    this.#page(around);
  }

  #page(around: number | undefined): void {
    const { length_ms } = this.bars;
    const before_ms = around === undefined ? undefined : around + AHEAD * length_ms;
    void this.#read({ before_ms, limit: PAGE }, (page) => {
      const bars = barsOf(page, length_ms);
      const [begin, last] = [this.bars.times[0], this.bars.times.at(-1)];
      const first = bars.times[0];
      const joins = last !== undefined && first !== undefined && first <= last + length_ms;
      this.bars = joins ? appended(this.bars, bars) : bars;
      if (!joins) this.#scrolled = 0;
      // What is older than the page was fetched before, and is fetched anew.
      if (joins && begin !== undefined && begin < first) this.mend(-Infinity, first);
      else this.#earlier = page.earlier;
      this.provider = page.provider;
      this.present = before_ms === undefined || before_ms > page.until_ms - length_ms;
    });
  }

  /** The bars before the first, if there are any and nobody has asked. */
  earlier(): void {
    const first = this.bars.times[0];
    if (this.#busy || this.loading || !this.#earlier || first === undefined) return;
    void this.#read({ before_ms: first, limit: MORE }, (page) => {
      this.#earlier = page.earlier && page.time_ms.length > 0;
      this.#scrolled += page.time_ms.length;
      this.bars = prepended(barsOf(page, this.bars.length_ms), this.bars);
    });
  }

  /** The bars behind the last, where that is not the newest. */
  later(): void {
    const last = this.bars.times.at(-1);
    if (this.#busy || this.loading || this.present || last === undefined) return;
    const { length_ms } = this.bars;
    const before_ms = last + (MORE + 1) * length_ms;
    void this.#read({ before_ms, limit: MORE }, (page) => {
      this.present = before_ms > page.until_ms - length_ms;
      this.bars = appended(this.bars, barsOf(page, length_ms));
    });
  }

  /** Asks for bars and takes them; what was mended meanwhile is asked for next. */
  async #read(query: { before_ms: number | undefined; limit: number }, take: (page: Candles) => void): Promise<void> {
    const number = ++this.#number;
    clearTimeout(this.#retry);
    const first = this.bars.times.length === 0;
    let again = false;
    this.#busy = true;
    this.#taken = [];
    this.loading = first;
    try {
      const page = await get<Candles>("pair_candles", { symbol: this.#symbol, timeframe: this.#timeframe, ...query });
      if (number !== this.#number) return;
      take(page);
      if (this.present) this.#follow(this.#taken);
      this.problem = undefined;
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      if (number === this.#number) {
        this.problem = error;
        again = error.passing;
        if (again) this.#retry = window.setTimeout(() => void this.#read(query, take), RETRY_MS);
      }
    } finally {
      if (number === this.#number) {
        this.#busy = again; // nothing else is asked for, which would take its place
        this.loading = false;
        this.#mendSoon();
      }
    }
  }
}
