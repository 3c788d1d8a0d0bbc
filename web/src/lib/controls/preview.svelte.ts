/** What a command would do: asked for again while one reads it, as prices move on. */

import { Problem } from "../api/client";
import type { CommandPreview } from "../api/types";

export class Preview {
  /** The newest answer; undefined before the first, and after a gap until the next. */
  answer = $state.raw<CommandPreview | undefined>(undefined);
  /** Why there is no answer that could be confirmed. */
  problem = $state.raw<Problem | undefined>(undefined);
  /** The moment of the market that the answer knows at least. */
  untilMs = $state<number | null>(null);

  #asking = new AbortController();
  #asked = 0;
  #heard = 0;

  /** `until`: up to which moment the account has come. */
  constructor(
    readonly ask: (signal: AbortSignal) => Promise<CommandPreview>,
    readonly until: () => number | null,
  ) {}

  /** Ask again; what is shown stays until the answer is there. An older answer never replaces a newer one. */
  async refresh(): Promise<void> {
    const number = ++this.#asked;
    const until = this.until();
    const { signal } = this.#asking;
    try {
      const answer = await this.ask(signal);
      if (number <= this.#heard) return;
      this.#heard = number;
      this.answer = answer;
      this.untilMs = until;
      this.problem = undefined;
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof Problem)) throw error;
      if (number <= this.#heard) return;
      this.#heard = number;
      this.problem = error;
    }
  }

  /** Whatever is on its way is not waited for: what stands is about to change, or nobody reads it any more. */
  stop(): void {
    this.#asking.abort();
    this.#asking = new AbortController();
    this.#heard = this.#asked;
  }

  /** After a gap: what was answered or asked before counts no more. */
  async renew(): Promise<void> {
    this.stop();
    this.answer = undefined;
    this.problem = undefined;
    await this.refresh();
  }
}
