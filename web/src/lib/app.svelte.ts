// What the whole page knows: who asks, which accounts there are, and how the chosen one stands.
import { untrack } from "svelte";

import { chosen } from "./account.svelte";
import { get, Problem } from "./api/client";
import { live } from "./api/live.svelte";
import type { AccountItem, Identity, Status } from "./api/types";
import { session } from "./session.svelte";

const ACCOUNTS_EVERY_MS = 30_000;
const NO_ACCOUNT_EVERY_MS = 3_000;
const STATUS_EVERY_MS = 15_000;

class App {
  identity = $state.raw<Identity | undefined>(undefined);
  accounts = $state.raw<AccountItem[]>([]);
  status = $state.raw<Status | undefined>(undefined);
  /** Why the page could not begin. */
  problem = $state.raw<Problem | undefined>(undefined);
  /** What the server says where there is no such account as the address names. */
  missing = $state.raw<Problem | undefined>(undefined);
  /** Whether the first answers are there: pages are shown from then on. */
  ready = $state(false);
  #told = 0; // how often the stream brought the status

  get account(): string | null {
    return chosen.id;
  }

  /** The chosen account in the list; undefined where a deep link names an older run. */
  readonly item: AccountItem | undefined = $derived(this.accounts.find((item) => item.account === chosen.id));
  /** Whether it is not known yet if there is such an account: then no page asks for anything of it. */
  readonly unsure: boolean = $derived(
    chosen.id !== null && this.item === undefined && this.status === undefined && this.missing === undefined,
  );
  readonly quote: string = $derived(this.status?.quote ?? this.item?.quote ?? "");
  readonly isRun: boolean = $derived(chosen.id?.startsWith("run:") ?? false);

  /** Whether this page was let in without a token, as whoever sits at this machine is. */
  readonly openWithoutToken: boolean = $derived(
    session.token === null && this.identity !== undefined && this.identity.open_to_loopback !== "none",
  );

  may(scope: "read" | "control"): boolean {
    return this.identity?.scopes.includes(scope) ?? false;
  }

  /** Asks who we are and what there is; then the page can be shown. */
  async begin(): Promise<void> {
    this.problem = undefined;
    try {
      const [identity, accounts] = await Promise.all([get<Identity>("identity"), get<{ items: AccountItem[] }>("accounts")]);
      this.identity = identity;
      this.accounts = accounts.items;
      chosen.preset ??= accounts.items[0]?.account ?? null;
      session.refused = false;
      this.ready = true;
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      this.problem = error;
    }
  }

  /** Keeps the list of accounts and the status of the chosen one; call it while the shell is set up. */
  follow(): void {
    $effect(() => {
      if (!this.ready) return;
      void live.generation;
      const every = chosen.id === null ? NO_ACCOUNT_EVERY_MS : ACCOUNTS_EVERY_MS;
      const timer = window.setInterval(() => void this.#readAccounts(), every);
      return () => clearInterval(timer);
    });
    $effect(() => {
      const account = chosen.id;
      void live.generation;
      if (!this.ready || account === null) return;
      untrack(() => {
        if (this.status?.account !== account) this.status = undefined;
        this.missing = undefined;
      });
      live.resubscribe();
      const release = live.want(["equity"]);
      const off = live.on("equity", (event) => {
        if (event.account !== chosen.id) return;
        this.#told += 1;
        this.status = event.status;
      });
      untrack(() => void this.#readStatus(account));
      const timer = window.setInterval(() => void this.#readStatus(account), STATUS_EVERY_MS);
      return () => {
        clearInterval(timer);
        release();
        off();
      };
    });
  }

  async #readAccounts(): Promise<void> {
    if (document.hidden) return;
    const accounts = await quiet(get<{ items: AccountItem[] }>("accounts"));
    if (!accounts) return;
    this.accounts = accounts.items;
    chosen.preset ??= accounts.items[0]?.account ?? null;
  }

  async #readStatus(account: string): Promise<void> {
    if (document.hidden && this.status) return;
    const missing = (problem: Problem): void => {
      if (problem.status === 404 && chosen.id === account) this.missing = problem;
    };
    const told = this.#told;
    const status = await quiet(get<Status>("status", { account }), missing);
    // What the stream brought meanwhile is newer than the answer.
    if (!status || chosen.id !== account || (told !== this.#told && this.status?.account === account)) return;
    this.status = status;
    this.missing = undefined;
  }
}

/** What the banner of the connection says already need not be said twice. */
async function quiet<T>(promise: Promise<T>, tell?: (problem: Problem) => void): Promise<T | undefined> {
  try {
    return await promise;
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    tell?.(error);
    return undefined;
  }
}

export const app = new App();
