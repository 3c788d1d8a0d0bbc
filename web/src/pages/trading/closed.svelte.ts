/** The closed trades of the table: page after page as one scrolls, and new ones without moving what one reads. */

import { Problem } from "../../lib/api/client";
import type { Sums, Trade, TradePage } from "../../lib/api/types";

const FIRST = 100;
const MORE = 500;

/** Fetches one page of the trades that are wanted now. */
export type Fetch = (limit: number, cursor: string | null) => Promise<TradePage>;

export class ClosedTrades {
  rows = $state.raw<readonly Trade[]>([]);
  sums = $state.raw<Sums | undefined>(undefined);
  /** Closed while one reads further down: shown when one asks for them. */
  fresh = $state.raw<readonly Trade[]>([]);
  problem = $state.raw<Problem | undefined>(undefined);
  loading = $state(false);
  /** Counts up whenever the rows are those of another question. */
  turn = $state(0);

  #fetch: Fetch | undefined;
  #cursor: string | null = null;
  #asking = 0; // the number of the newest question; answers to older ones are dropped
  #waiting = false;

  /** Ask from the first page; what is shown stays until the answer comes. */
  async restart(fetch: Fetch): Promise<void> {
    this.#fetch = fetch;
    const asking = ++this.#asking;
    this.loading = true;
    this.#waiting = true;
    const page = await this.#answer(asking, fetch(FIRST, null));
    if (asking !== this.#asking) return;
    this.loading = false;
    this.#waiting = false;
    if (page === undefined) return;
    this.rows = page.items;
    this.sums = page.sums;
    this.fresh = [];
    this.#cursor = page.next;
    this.turn += 1;
  }

  /** The same question once more, from its first page, or from the page that did not come. */
  again(): void {
    if (this.#fetch === undefined) return;
    if (this.problem !== undefined && this.sums !== undefined && this.#cursor !== null) void this.more();
    else void this.restart(this.#fetch);
  }

  /** The page behind what is loaded, if there is one and nobody has asked for it yet. */
  async more(): Promise<void> {
    if (this.#fetch === undefined || this.#cursor === null || this.#waiting) return;
    const asking = this.#asking;
    this.#waiting = true;
    const page = await this.#answer(asking, this.#fetch(MORE, this.#cursor));
    if (asking !== this.#asking) return;
    this.#waiting = false;
    if (page === undefined) return;
    const known = idsOf(this.rows.slice(-2 * MORE));
    this.rows = [...this.rows, ...page.items.filter((each) => !known.has(each.trade_group_id))];
    this.#cursor = page.next;
  }

  /** Trades that have just closed. On top of the list they are shown at once, else they wait. */
  take(trades: readonly Trade[], onTop: boolean): void {
    if (this.sums === undefined) return;
    const known = idsOf([...this.rows.slice(0, MORE), ...this.fresh]);
    const added = trades
      .filter((each) => !known.has(each.trade_group_id))
      .sort((one, other) => (other.exit_ms ?? 0) - (one.exit_ms ?? 0));
    if (added.length === 0) return;
    if (onTop) this.rows = [...added, ...this.rows];
    else this.fresh = [...added, ...this.fresh];
  }

  /** Show what waits. */
  unfold(): void {
    this.rows = [...this.fresh, ...this.rows];
    this.fresh = [];
  }

  /** The sums that hold now. */
  count(sums: Sums): void {
    this.sums = sums;
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

function idsOf(trades: readonly Trade[]): ReadonlySet<string> {
  return new Set(trades.map((each) => each.trade_group_id));
}
