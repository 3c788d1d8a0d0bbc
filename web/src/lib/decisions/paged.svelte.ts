/** A list that grows, page by page: the first one anew whenever its question changes, the next as one scrolls. */

import { Problem } from "../api/client";
import type { Listed } from "../api/types";
import { behind, LIVE_MAX, unknown } from "../rows";

export type FetchPage<T> = (cursor: string | null) => Promise<Listed<T>>;

const RETRY_MS = 5_000;
/** So many rows stay where live ones became too many. */
const KEPT = 400;

export class Paged<T> {
  rows = $state.raw<readonly T[]>([]);
  total = $state<number | null>(null);
  problem = $state.raw<Problem | undefined>(undefined);
  loading = $state(true);

  #fetch: FetchPage<T> | undefined;
  #next: string | null = null;
  #number = 0;
  #busy = false;
  #retry = 0;
  #taken: T[] | undefined; // what came live since the first page was asked for, the newest first
  #live = 0; // the rows that came live
  #cut = false; // whether rows at the end were let go of, so that the cursor is not theirs

  constructor(readonly key: (row: T) => string) {}

  /** Asks anew. `fresh` drops what is shown at once, for another question; otherwise it stays until the answer. */
  restart(fetch: FetchPage<T>, fresh: boolean): void {
    this.#fetch = fetch;
    if (fresh) {
      this.rows = [];
      this.total = null;
    }
    this.#taken = [];
    void this.#read(async () => {
      const page = await fetch(null);
      return () => {
        const since = unknown(this.#taken ?? [], page.items, this.key);
        this.#taken = undefined;
        this.rows = [...since, ...page.items];
        this.total = page.total === null || page.total === undefined ? this.total : page.total + since.length;
        this.#next = page.next;
        this.#live = since.length;
        this.#cut = false;
      };
    });
  }

  /** New rows on top, as a live event brought them. */
  take(rows: readonly T[]): void {
    const newest = rows.toReversed();
    if (this.#taken !== undefined) this.#taken = [...unknown(newest, this.#taken, this.key), ...this.#taken];
    const added = unknown(newest, this.rows.slice(0, this.#live + KEPT), this.key);
    if (added.length === 0) return;
    this.rows = [...added, ...this.rows];
    if (this.total !== null) this.total += added.length;
    this.#live += added.length;
    if (this.#live <= LIVE_MAX) return;
    this.rows = this.rows.slice(0, KEPT);
    this.#live = KEPT;
    this.#cut = true;
  }

  /** Asks no more. */
  stop(): void {
    clearTimeout(this.#retry);
    this.#number += 1;
  }

  more(): void {
    const fetch = this.#fetch;
    if (fetch === undefined || (this.#next === null && !this.#cut) || this.#busy) return;
    void this.#read(async () => {
      const cut = this.#cut;
      let page = await fetch(cut ? null : this.#next);
      let added = cut ? behind(this.rows, page.items, this.key) : page.items;
      // Behind a cut one looks for the last row that is left, from the newest on.
      while (added === null && page.next !== null) {
        page = await fetch(page.next);
        added = behind(this.rows, page.items, this.key);
      }
      return () => {
        this.rows = [...this.rows, ...unknown(added ?? [], this.rows, this.key)];
        this.total = page.total ?? this.total;
        this.#next = page.next;
        this.#cut = false;
      };
    });
  }

  /** One question, whose answer counts unless there is a newer one. */
  async #read(ask: () => Promise<() => void>): Promise<void> {
    const number = ++this.#number;
    clearTimeout(this.#retry);
    this.#busy = true;
    this.loading = true;
    try {
      const take = await ask();
      if (number !== this.#number) return;
      take();
      this.problem = undefined;
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      if (number !== this.#number) return;
      this.problem = error;
      if (error.passing) this.#retry = window.setTimeout(() => void this.#read(ask), RETRY_MS);
    } finally {
      if (number === this.#number) {
        this.#busy = false;
        this.loading = false;
      }
    }
  }
}
