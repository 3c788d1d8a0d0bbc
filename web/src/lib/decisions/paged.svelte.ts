/** A list that grows, page by page: the first one anew whenever its question changes, the next as one scrolls. */

import { Problem } from "../api/client";
import type { Listed } from "../api/types";

export type FetchPage<T> = (cursor: string | null) => Promise<Listed<T>>;

const RETRY_MS = 5_000;

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

  constructor(readonly key: (row: T) => string) {}

  /** Asks anew. `fresh` drops what is shown at once, for another question; otherwise it stays until the answer. */
  restart(fetch: FetchPage<T>, fresh: boolean): void {
    this.#fetch = fetch;
    if (fresh) {
      this.rows = [];
      this.total = null;
    }
    void this.#read(fetch, null);
  }

  /** New rows on top, as a live event brought them. */
  take(rows: readonly T[]): void {
    const known = new Set(this.rows.slice(0, 500).map(this.key));
    const added = rows.filter((row) => !known.has(this.key(row)));
    if (added.length === 0) return;
    this.rows = [...added.toReversed(), ...this.rows];
    if (this.total !== null) this.total += added.length;
  }

  /** Asks no more. */
  stop(): void {
    clearTimeout(this.#retry);
    this.#number += 1;
  }

  more(): void {
    if (this.#fetch === undefined || this.#next === null || this.#busy) return;
    void this.#read(this.#fetch, this.#next);
  }

  async #read(fetch: FetchPage<T>, cursor: string | null): Promise<void> {
    const number = ++this.#number;
    clearTimeout(this.#retry);
    this.#busy = true;
    this.loading = true;
    try {
      const page = await fetch(cursor);
      if (number !== this.#number) return;
      const known = new Set(cursor === null ? [] : this.rows.map(this.key));
      const added = page.items.filter((row) => !known.has(this.key(row)));
      this.rows = cursor === null ? added : [...this.rows, ...added];
      this.total = page.total ?? this.total;
      this.#next = page.next;
      this.problem = undefined;
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      if (number !== this.#number) return;
      this.problem = error;
      if (error.passing) this.#retry = window.setTimeout(() => void this.#read(fetch, cursor), RETRY_MS);
    } finally {
      if (number === this.#number) {
        this.#busy = false;
        this.loading = false;
      }
    }
  }
}
