/** What people did, with the trader's answers: the newest page again and again, older ones when one asks. */

import { Problem } from "../api/client";
import type { AuditItem, AuditPage, CommandItem, CommandPage } from "../api/types";
import { unknown } from "../rows";

export interface Pages {
  audit: (cursor: string | null) => Promise<AuditPage>;
  commands: (cursor: string | null) => Promise<CommandPage>;
}

export class Acts {
  /** The newest first; undefined until the first answer. */
  items = $state.raw<readonly AuditItem[] | undefined>(undefined);
  /** The commands by their id. */
  answers = $state.raw<ReadonlyMap<string, CommandItem>>(new Map());
  /** Whether there are older ones. */
  more = $state(false);
  problem = $state.raw<Problem | undefined>(undefined);
  /** Whether older ones are under way. */
  loading = $state(false);

  #cursor: string | null = null;
  #commands: string | null = null;
  #number = 0;

  constructor(readonly pages: Pages) {}

  /** The newest page; what stands behind it stays, where it joins. */
  async refresh(): Promise<void> {
    const number = ++this.#number;
    await this.#told(async () => {
      const [audit, commands] = await Promise.all([this.pages.audit(null), this.pages.commands(null)]);
      if (number !== this.#number) return;
      const before = this.items ?? [];
      const known = new Set(before.map(keyOf));
      const joins = audit.items.some((item) => known.has(keyOf(item)));
      if (joins) {
        this.items = [...unknown(audit.items, before, keyOf), ...before];
      } else {
        this.items = audit.items;
        this.#cursor = audit.next;
        this.#commands = commands.next;
        this.more = audit.next !== null;
        this.answers = new Map();
      }
      this.#learn(commands.items);
    });
  }

  /** The page behind the last act. */
  async older(): Promise<void> {
    if (this.loading || this.#cursor === null) return;
    this.loading = true;
    await this.#told(async () => {
      const cursor = this.#cursor;
      const page = await this.pages.audit(cursor);
      if (cursor !== this.#cursor) return; // meanwhile the list began anew
      const before = this.items ?? [];
      this.items = [...before, ...unknown(page.items, before, keyOf)];
      this.#cursor = page.next;
      this.more = page.next !== null;
      await this.#answersDownTo(page.items.at(-1)?.at_ms ?? 0);
    });
    this.loading = false;
  }

  /** Commands have pages of their own: as many as the acts that are shown need. */
  async #answersDownTo(oldestMs: number): Promise<void> {
    while (this.#commands !== null) {
      const cursor: string = this.#commands;
      const page = await this.pages.commands(cursor);
      if (cursor !== this.#commands) return;
      this.#learn(page.items);
      this.#commands = page.next;
      if ((page.items.at(-1)?.created_at_ms ?? 0) < oldestMs) return;
    }
  }

  #learn(commands: readonly CommandItem[]): void {
    this.answers = new Map([...this.answers, ...commands.map((each): [string, CommandItem] => [each.command_id, each])]);
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

/** An act has no number: who did what, when. */
function keyOf(item: AuditItem): string {
  return `${String(item.at_ms)} ${item.actor} ${item.action} ${JSON.stringify(item.detail)}`;
}
