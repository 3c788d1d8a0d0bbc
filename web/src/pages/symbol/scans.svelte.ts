/** What every strategy said of a symbol at any close: pages of scans, fetched where the cursor is, few of them kept. */

import { SvelteMap } from "svelte/reactivity";

import { get, Problem } from "$lib/api/client";
import type { Scans, Verdict } from "$lib/api/types";
import { lastAtOrBefore } from "$lib/charts/align";

export interface ScanAt {
  readonly time_ms: number;
  /** Whether every gate was passed; the verdict of a setup is the portfolio's answer. */
  readonly setup: boolean;
  readonly verdict: Verdict;
  readonly reason: string;
  readonly lacks: string | null;
  readonly sentence: string;
  readonly readiness: number | null;
  readonly confidence: number | null;
  readonly measurements: Readonly<Record<string, number | null>>;
}

/** `undefined` is not known yet, null that nothing was scanned. */
export type Found = ScanAt | null | undefined;

const PAGE = 200;
const PAGES_MAX = 48;
/** A page that is not over is fetched again at most so often. */
const AGAIN_MS = 2_000;

interface Page {
  readonly scans: Scans | undefined;
  readonly fetchedAt: number;
  readonly failed: boolean;
}

export class ScanPages {
  readonly #pages = new SvelteMap<string, Page>();

  constructor(
    readonly account: string | null,
    readonly symbol: string,
  ) {}

  /** The last scan in (after_ms, until_ms]; asks for it where it is not here. Call `want` beforehand. */
  last(strategy: string, length_ms: number, after_ms: number, until_ms: number): Found {
    for (const start of new Set([this.#start(length_ms, until_ms), this.#start(length_ms, after_ms)])) {
      const page = this.#pages.get(key(strategy, start));
      if (page === undefined || (page.scans === undefined && !page.failed)) return undefined;
      const scans = page.scans;
      if (scans === undefined) continue;
      const at = lastAtOrBefore(scans.time_ms, until_ms);
      const time_ms = scans.time_ms[at];
      if (time_ms !== undefined && time_ms > after_ms) return scanAt(scans, at, time_ms);
    }
    return null;
  }

  /** Why there are no scans there, in the words of the API. */
  note(strategy: string, length_ms: number, until_ms: number): string | null {
    return this.#pages.get(key(strategy, this.#start(length_ms, until_ms)))?.scans?.note ?? null;
  }

  /** Fetches the pages in which scans of (after_ms, until_ms] may be; `present_ms` is the account's present. */
  want(strategy: string, length_ms: number, after_ms: number, until_ms: number, present_ms: number): void {
    for (const start of new Set([this.#start(length_ms, until_ms), this.#start(length_ms, after_ms)])) {
      const end = start + PAGE * length_ms;
      const page = this.#pages.get(key(strategy, start));
      const newest = page?.scans?.time_ms.at(-1) ?? start;
      const over = newest + length_ms >= end || newest + length_ms > Math.min(present_ms, until_ms);
      if (page !== undefined && ((page.scans !== undefined && over) || Date.now() - page.fetchedAt < AGAIN_MS)) continue;
      void this.#fetch(strategy, start, end, page?.scans);
    }
  }

  /** Start of the page that a close lies in. */
  #start(length_ms: number, close_ms: number): number {
    return Math.floor(close_ms / (PAGE * length_ms)) * PAGE * length_ms;
  }

  async #fetch(strategy: string, start: number, end: number, before: Scans | undefined): Promise<void> {
    const name = key(strategy, start);
    this.#put(name, { scans: before, fetchedAt: Date.now(), failed: false });
    try {
      const query = { account: this.account, symbol: this.symbol, strategy, start_ms: start, end_ms: end, limit: PAGE };
      const scans = await get<Scans>("scans", query);
      this.#put(name, { scans, fetchedAt: Date.now(), failed: false });
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      this.#put(name, { scans: before, fetchedAt: Date.now(), failed: true });
    }
  }

  #put(name: string, page: Page): void {
    this.#pages.set(name, page);
    for (const oldest of this.#pages.keys()) {
      if (this.#pages.size <= PAGES_MAX) return;
      if (oldest !== name) this.#pages.delete(oldest);
    }
  }
}

function key(strategy: string, start: number): string {
  return `${strategy}@${start}`;
}

function scanAt(scans: Scans, at: number, time_ms: number): ScanAt {
  return {
    time_ms,
    setup: scans.setup[at] ?? false,
    verdict: scans.verdict[at] ?? "SKIP",
    reason: scans.reason[at] ?? "",
    lacks: scans.lacks[at] ?? null,
    sentence: scans.sentence[at] ?? "",
    readiness: scans.readiness[at] ?? null,
    confidence: scans.confidence[at] ?? null,
    measurements: Object.fromEntries(
      Object.entries(scans.measurements).map(([name, values]) => [name, values[at] ?? null]),
    ),
  };
}
