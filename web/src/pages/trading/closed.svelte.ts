/** The closed trades of the table, and what all under the filter add up to. */

import { Problem } from "../../lib/api/client";
import type { Sums, Trade, TradePage } from "../../lib/api/types";
import { Paged } from "../../lib/paged.svelte";

export class ClosedTrades extends Paged<Trade, TradePage> {
  sums = $state.raw<Sums | undefined>(undefined);

  #later: (() => Promise<Sums>) | undefined;

  constructor() {
    super((trade) => trade.trade_group_id);
  }

  /** Fetches the sums that hold now; they are dropped where a page was asked for since, which brings its own. */
  async recount(fetch: () => Promise<Sums>): Promise<void> {
    this.#later = undefined;
    const { firsts } = this;
    let sums: Sums;
    try {
      sums = await fetch();
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      return; // the next trade asks again, and a lost connection fetches everything anew
    }
    if (firsts !== this.firsts) return;
    if (this.beginning) this.#later = fetch; // the page that is under way may be older
    else this.sums = sums;
  }

  protected override began(page: TradePage): void {
    this.sums = page.sums;
    if (this.#later !== undefined) void this.recount(this.#later);
  }
}
