/** A list that grows at both ends: pages below as one scrolls, and above what happens while one looks on. */

import { untrack } from "svelte";

import { Problem } from "./api/client";
import type { Listed } from "./api/types";

/** Asks for one page; `null` is the cursor of the first. */
export type FetchPage<Page> = (cursor: string | null) => Promise<Page>;

/** So many rows come on top, or wait, before the list is asked for anew. */
export const LIVE_MAX = 2_000;

const RETRY_MS = 5_000;

export class Paged<T, Page extends Listed<T> = Listed<T>> {
  rows = $state.raw<readonly T[]>([]);
  total = $state<number | null>(null);
  problem = $state.raw<Problem | undefined>(undefined);
  loading = $state(true);
  /** Whether the rows are those of the question before. */
  stale = $state(false);
  /** How many rows came while one reads further down. */
  waiting = $state(0);
  /** Whether there are, or may be, more of them than were counted. */
  atLeast = $state(false);
  /** Counts up whenever the list begins anew, and is to be read from its beginning. */
  turn = $state(0);
  /** Whether somebody reads further down: then new rows wait, so that nothing moves. */
  reading = false;
  /** Whether new rows belong on top; in another order they wait until one asks for them. */
  newestFirst = true;

  #fetch: FetchPage<Page> | undefined;
  #next: string | null = null;
  #number = 0; // of the newest question; answers to older ones are dropped
  #busy = false;
  #retry = 0;
  #failed: (() => void) | undefined; // the question that was not answered, once more
  #anew = true; // whether the first page replaces everything, whoever reads
  #came: T[] | undefined; // what came since the first page was asked for, the oldest first
  #known = new Set<string>(); // the keys of the rows
  #waits = new Set<string>(); // the keys of those that wait
  #live = 0; // the rows that came on top

  constructor(readonly key: (row: T) => string) {}

  /** Asks from the first page. `fresh` is another question: what is shown is stale until the answer comes. */
  restart(fetch: FetchPage<Page>, fresh: boolean): void {
    this.#fetch = fetch;
    if (fresh) this.stale = untrack(() => this.rows.length > 0);
    this.#first(fresh);
  }

  /** Shows what waits. */
  unfold(): void {
    this.#first(true);
  }

  /** Asks once more for what did not come, or else for everything. */
  again(): void {
    if (this.#failed !== undefined) this.#failed();
    else this.#first(true);
  }

  /** The page behind the last row, if there is one, nothing else is under way, and nothing went wrong. */
  more(): void {
    const fetch = this.#fetch;
    if (fetch === undefined || this.#next === null || this.#busy || this.problem !== undefined) return;
    const cursor = this.#next;
    void this.#ask(
      () => fetch(cursor),
      (page) => {
        this.rows = [...this.rows, ...this.#added(page.items)];
        this.total = page.total ?? this.total;
        this.#next = page.next === cursor ? null : page.next; // one that leads to itself leads nowhere
        this.waiting = this.#waits.size;
      },
    );
  }

  /** New rows, the oldest first, as a live event brought them: on top, unless they have to wait. */
  take(rows: readonly T[]): void {
    this.#came?.push(...rows);
    if (this.stale || this.turn === 0) return;
    const fresh = rows.filter((row) => !this.#known.has(this.key(row)));
    if (this.#held) {
      this.#wait(fresh);
      return;
    }
    const added = this.#added(fresh.toReversed());
    if (added.length === 0) return;
    this.rows = [...added, ...this.rows];
    if (this.total !== null) this.total += added.length;
    this.#live += added.length;
    // Too many: the first page anew, with the cursor behind it. Whoever looks on stands at the top.
    if (this.#live > LIVE_MAX && this.#came === undefined && this.problem === undefined) this.#first(false);
  }

  /** Asks no more. */
  stop(): void {
    clearTimeout(this.#retry);
    this.#number += 1;
    this.#busy = false;
  }

  /** Whether a question is under way whose answer begins the list anew, or brings it up to date. */
  protected get beginning(): boolean {
    return this.#came !== undefined;
  }

  /** How often the first page was asked for. */
  protected firsts = 0;

  /** Called with each first page once its rows are there. */
  protected began(_page: Page): void {}

  get #held(): boolean {
    return this.reading || !this.newestFirst;
  }

  #first(anew: boolean): void {
    const fetch = this.#fetch;
    if (fetch === undefined) return;
    this.#anew ||= anew;
    void this.#ask(
      () => {
        this.firsts += 1;
        this.#came = [];
        return fetch(null);
      },
      (page) => this.#begin(page),
    );
  }

  #begin(page: Page): void {
    const came = this.#came ?? [];
    this.#came = undefined;
    this.total = page.total ?? null;
    if (this.#held && !this.#anew) this.#join(page.items);
    else {
      this.#known.clear();
      this.#waits.clear();
      this.rows = this.#added(page.items);
      this.#next = page.next;
      this.#live = 0;
      this.waiting = 0;
      this.atLeast = false;
      this.turn += 1;
    }
    this.#anew = false;
    this.stale = false;
    this.take(came);
    this.began(page);
  }

  /** The rows as they are now, where they are; those that nobody has seen wait. */
  #join(items: readonly T[]): void {
    const now = new Map(items.map((row) => [this.key(row), row]));
    this.rows = this.rows.map((row) => now.get(this.key(row)) ?? row);
    const missed = items.filter((row) => !this.#known.has(this.key(row)));
    this.#wait(missed);
    if (items.length > 0 && missed.length === items.length) this.atLeast = true;
  }

  #wait(rows: readonly T[]): void {
    for (const row of rows) {
      if (this.#waits.size < LIVE_MAX) this.#waits.add(this.key(row));
      else this.atLeast = true;
    }
    this.waiting = this.#waits.size;
  }

  /** Those of the rows that are not there yet, which from now on are. */
  #added(rows: readonly T[]): T[] {
    return rows.filter((row) => {
      const id = this.key(row);
      if (this.#known.has(id)) return false;
      this.#known.add(id);
      this.#waits.delete(id);
      return true;
    });
  }

  /** One question, whose answer counts unless there is a newer one. */
  async #ask(ask: () => Promise<Page>, take: (page: Page) => void): Promise<void> {
    const number = ++this.#number;
    clearTimeout(this.#retry);
    this.#failed = undefined;
    this.#busy = true;
    this.loading = true;
    try {
      const page = await ask();
      if (number !== this.#number) return;
      take(page);
      this.problem = undefined;
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      if (number !== this.#number) return;
      this.problem = error;
      this.#came = undefined;
      this.#failed = () => void this.#ask(ask, take);
      if (error.passing) this.#retry = window.setTimeout(this.#failed, RETRY_MS);
    } finally {
      if (number === this.#number) {
        this.#busy = false;
        this.loading = false;
      }
    }
  }
}
