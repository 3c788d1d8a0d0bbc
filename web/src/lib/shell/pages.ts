// The pages of the site: their names, signs and keys, and how each is fetched when it is first needed.
import type { Component } from "svelte";
import { SvelteMap } from "svelte/reactivity";

import type { IconName } from "../components/shell";
import type { PageName, RouteName } from "../router.svelte";

export interface PageItem {
  name: PageName;
  title: string;
  icon: IconName;
  keys: string;
  about: string;
}

export const NAVIGATION: readonly PageItem[] = [
  { name: "trading", title: "Trading", icon: "trading", keys: "g t", about: "equity, positions, closed trades" },
  { name: "strategies", title: "Strategies", icon: "strategies", keys: "g s", about: "how near each symbol is to a setup" },
  { name: "market", title: "Market", icon: "market", keys: "g m", about: "regime, volatility, what keeps it from buying" },
  { name: "research", title: "Research", icon: "research", keys: "g r", about: "scorecard, trials, recorded runs" },
  { name: "system", title: "System", icon: "system", keys: "g y", about: "health, data, commands, configuration" },
];

type Loaded = Promise<{ default: Component }>;

const LOADERS: Partial<Record<RouteName, () => Loaded>> = {
  trading: () => import("$pages/trading/Page.svelte"),
  strategies: () => import("$pages/strategies/Page.svelte"),
  market: () => import("$pages/market/Page.svelte"),
  research: () => import("$pages/research/Page.svelte"),
  system: () => import("$pages/system/Page.svelte"),
  symbol: () => import("$pages/symbol/Page.svelte"),
};

/** The pages that were fetched. */
export const fetched = new SvelteMap<RouteName, Component>();

/** Fetches a page where that was not done yet; undefined where nothing is to be waited for. */
export function load(name: RouteName): Promise<unknown> | undefined {
  const loader = LOADERS[name];
  if (!loader || fetched.has(name)) return undefined;
  return loader().then((page) => fetched.set(name, page.default));
}

const RELOADED = "reloaded-at";
const RELOAD_AGAIN_MS = 30_000;

/** After an update of the server, chunks of this page may be gone: then the page begins anew, once. */
export function reloadWhenRenewed(): () => void {
  const renew = (event: Event): void => {
    const last = Number(sessionStorage.getItem(RELOADED) ?? 0);
    if (Date.now() - last < RELOAD_AGAIN_MS || !navigator.onLine) return;
    event.preventDefault();
    sessionStorage.setItem(RELOADED, String(Date.now()));
    location.reload();
  };
  addEventListener("vite:preloadError", renew);
  return () => removeEventListener("vite:preloadError", renew);
}
