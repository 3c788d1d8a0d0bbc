/** What people did, each with what came of it: the newest page again and again, older ones when one asks. */

import { Problem } from "../api/client";
import type { AuditItem, AuditPage } from "../api/types";

/** So many the server gives at once. */
const LIMIT_MAX = 500;

export class Acts {
  /** The newest first; undefined until the first answer. */
  items = $state.raw<readonly AuditItem[] | undefined>(undefined);
  /** Whether there are older ones. */
  more = $state(false);
  problem = $state.raw<Problem | undefined>(undefined);
  /** Whether older ones are under way. */
  loading = $state(false);

  #cursor: string | null = null;
  #asked = 0;

  constructor(
    readonly page: (limit: number, cursor: string | null) => Promise<AuditPage>,
    readonly limit: number,
  ) {}

  /** The newest, down to the oldest that is shown and still waits for its answer; what stands behind stays. */
  async refresh(): Promise<void> {
    const number = ++this.#asked;
    await this.#told(async () => {
      const newest = await this.page(this.#limitToWaiting(), null);
      if (number !== this.#asked) return;
      const last = newest.items.at(-1)?.number ?? Infinity;
      const before = this.items ?? [];
      const joins = before.some((item) => item.number >= last);
      this.items = [...newest.items, ...(joins ? before.filter((item) => item.number < last) : [])];
      if (joins && before.some((item) => item.number < last)) return;
      this.#behind(newest);
    });
  }

  /** The page behind the last act. */
  async older(): Promise<void> {
    const cursor = this.#cursor;
    if (this.loading || cursor === null) return;
    this.loading = true;
    await this.#told(async () => {
      const page = await this.page(this.limit, cursor);
      if (cursor !== this.#cursor) return; // meanwhile the list began anew
      this.items = [...(this.items ?? []), ...page.items];
      this.#behind(page);
    });
    this.loading = false;
  }

  #behind(page: AuditPage): void {
    this.#cursor = page.next;
    this.more = page.next !== null;
  }

  /** As many as reach the last of those that wait, and some that may have come on top of them. */
  #limitToWaiting(): number {
    const at = (this.items ?? []).findLastIndex((item) => item.result?.status === "waiting");
    return at < 0 ? this.limit : Math.min(LIMIT_MAX, at + 1 + this.limit);
  }

  async #told(act: () => Promise<void>): Promise<void> {
    try {
      await act();
      this.problem = undefined;
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      this.problem = error;
    }
  }
}
