/** The closed trades of the table: page after page as one scrolls, and new ones without moving what one reads. */

import { Problem } from "../../lib/api/client";
import type { Sums, Trade, TradePage } from "../../lib/api/types";
import { behind, LIVE_MAX, unknown } from "../../lib/rows";

const FIRST = 100;
const MORE = 500;

/** Fetches one page of the trades that are wanted now. */
export type Fetch = (limit: number, cursor: string | null) => Promise<TradePage>;

export class ClosedTrades {
  rows = $state.raw<readonly Trade[]>([]);
  sums = $state.raw<Sums | undefined>(undefined);
  /** Closed while one reads further down: the newest of them are kept, and shown when one asks for them. */
  fresh = $state.raw<readonly Trade[]>([]);
  /** How many closed meanwhile. */
  waiting = $state(0);
  problem = $state.raw<Problem | undefined>(undefined);
  loading = $state(false);
  /** Counts up whenever the rows are those of another question. */
  turn = $state(0);

  #fetch: Fetch | undefined;
  #cursor: string | null = null;
  #asking = 0; // the number of the newest question; answers to older ones are dropped
  #busy = false;
  #taken: { onTop: boolean; trades: readonly Trade[] }[] | undefined; // since the first page was asked for
  #live = 0; // the rows that came live
  #cut = false; // whether rows at the end were let go of, so that the cursor is not theirs
  #sum: (() => Promise<Sums>) | undefined;

  /** Ask from the first page; what is shown stays until the answer comes. */
  async restart(fetch: Fetch): Promise<void> {
    this.#fetch = fetch;
    const asking = ++this.#asking;
    this.loading = true;
    this.#busy = true;
    this.#taken = [];
    const page = await this.#answer(asking, fetch(FIRST, null));
    if (asking !== this.#asking) return;
    const taken = this.#taken;
    this.#taken = undefined;
    this.loading = false;
    this.#busy = false;
    if (page !== undefined) {
      this.rows = page.items;
      this.sums = page.sums;
      this.fresh = [];
      this.waiting = 0;
      this.#live = 0;
      this.#cut = false;
      this.#cursor = page.next;
      this.turn += 1;
    }
    for (const { trades, onTop } of taken) this.take(trades, onTop);
    if (this.#sum !== undefined) void this.recount(this.#sum);
  }

  /** The same question once more, from its first page, or from the page that did not come. */
  again(): void {
    if (this.#fetch === undefined) return;
    if (this.problem !== undefined && this.sums !== undefined && this.#more) void this.more();
    else void this.restart(this.#fetch);
  }

  /** The page behind what is loaded, if there is one and nobody has asked for it yet. */
  async more(): Promise<void> {
    if (this.#fetch === undefined || !this.#more || this.#busy) return;
    const asking = this.#asking;
    this.#busy = true;
    let cursor = this.#cut ? null : this.#cursor;
    for (let added: Trade[] | null = null; added === null; ) {
      const page = await this.#answer(asking, this.#fetch(MORE, cursor));
      if (asking !== this.#asking) return;
      if (page === undefined) break;
      // Behind a cut one looks for the last row that is left, from the newest on.
      added = this.#cut ? behind(this.rows, page.items, keyOf) : unknown(page.items, this.rows, keyOf);
      cursor = page.next;
      if (added === null && cursor !== null) continue;
      this.rows = [...this.rows, ...(added ?? [])];
      this.#cursor = cursor;
      this.#cut = false;
      break;
    }
    this.#busy = false;
  }

  /** Trades that have just closed. On top of the list they are shown at once, else they wait. */
  take(trades: readonly Trade[], onTop: boolean): void {
    this.#taken?.push({ trades, onTop });
    if (this.sums === undefined) return;
    const added = unknown(trades, [...this.rows.slice(0, this.#live + MORE), ...this.fresh], keyOf);
    if (added.length === 0) return;
    added.sort((one, other) => (other.exit_ms ?? 0) - (one.exit_ms ?? 0));
    if (onTop) this.#show(added);
    else {
      this.fresh = [...added, ...this.fresh].slice(0, LIVE_MAX);
      this.waiting += added.length;
    }
  }

  /** Show what waits. */
  unfold(): void {
    const gap = this.waiting > this.fresh.length;
    if (gap) {
      this.rows = [];
      this.#cut = true;
    }
    this.#show(this.fresh);
    this.fresh = [];
    this.waiting = 0;
  }

  /** Fetch the sums that hold now; those of another question are dropped. */
  async recount(fetch: () => Promise<Sums>): Promise<void> {
    this.#sum = undefined;
    const asking = this.#asking;
    let sums: Sums;
    try {
      sums = await fetch();
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      return; // the next trade asks again, and a lost connection fetches everything anew
    }
    if (asking !== this.#asking) return;
    if (this.#taken === undefined) this.sums = sums;
    else this.#sum = fetch; // the page that is under way may be older
  }

  get #more(): boolean {
    return this.#cut || this.#cursor !== null;
  }

  #show(added: readonly Trade[]): void {
    this.#live += added.length;
    const rows = [...added, ...this.rows];
    if (this.#live <= LIVE_MAX) {
      this.rows = rows;
      return;
    }
    this.rows = rows.slice(0, MORE);
    this.#live = MORE;
    this.#cut = true;
  }

  async #answer(asking: number, promise: Promise<TradePage>): Promise<TradePage | undefined> {
    try {
      const page = await promise;
      if (asking === this.#asking) this.problem = undefined;
      return page;
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      if (asking === this.#asking) this.problem = error;
      return undefined;
    }
  }
}

function keyOf(trade: Trade): string {
  return trade.trade_group_id;
}
