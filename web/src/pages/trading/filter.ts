/** Which closed trades are shown: as the address spells it, as the API is asked, and as it judges one trade. */

import type { Trade } from "../../lib/api/types";
import type { Span } from "../../lib/days";

export type { Span };

export type Outcome = "win" | "loss";

/** Empty and null do not narrow. `span` is `1d`, `7d`, `30d` (up to the account's present) or `START-END` in ms. */
export interface TradeFilter {
  readonly symbol: readonly string[];
  readonly strategy: readonly string[];
  readonly tier: readonly string[];
  readonly reason: readonly string[];
  readonly outcome: Outcome | null;
  readonly span: string | null;
}

/** The query of an address: the router's `route` is one. */
export interface Address {
  readonly query: Readonly<Record<string, string | undefined>>;
  all(name: string): readonly string[];
}

export type Changes = Record<string, string | readonly string[] | null>;

export type Listed = "symbol" | "strategy" | "tier" | "reason";

export const DAY_MS = 86_400_000;

export const SPANS: Readonly<Record<string, number>> = { "1d": DAY_MS, "7d": 7 * DAY_MS, "30d": 30 * DAY_MS };

/** What the API puts trades in order by. */
export const ORDERS = [
  "exit_ms",
  "entry_ms",
  "held_ms",
  "pnl_quote",
  "return_net",
  "invested_quote",
  "symbol",
  "strategy",
  "exit_reason",
  "entry_price",
  "exit_price",
] as const;

export type TradeOrder = (typeof ORDERS)[number];

/** The filter that an address names; what it can not mean is left out. */
export function filterOf(address: Address): TradeFilter {
  const { outcome, span } = address.query;
  return {
    symbol: address.all("symbol"),
    strategy: address.all("strategy"),
    tier: address.all("tier"),
    reason: address.all("reason"),
    outcome: outcome === "win" || outcome === "loss" ? outcome : null,
    span: span !== undefined && (Object.hasOwn(SPANS, span) || fixedSpan(span) !== null) ? span : null,
  };
}

/** The names with one more, or without it where it is among them. */
export function toggled(names: readonly string[], name: string): readonly string[] {
  return names.includes(name) ? names.filter((each) => each !== name) : [...names, name];
}

/** The changes of the address that clear the whole filter. */
export const CLEARED: Changes = {
  symbol: null,
  strategy: null,
  tier: null,
  reason: null,
  outcome: null,
  span: null,
};

export function isNarrow(filter: TradeFilter): boolean {
  return (
    filter.symbol.length + filter.strategy.length + filter.tier.length + filter.reason.length > 0 ||
    filter.outcome !== null ||
    filter.span !== null
  );
}

/** What `span` means for an account that stands at `untilMs`. */
export function spanOf(span: string | null, untilMs: number): Span {
  if (span === null) return {};
  const length = Object.hasOwn(SPANS, span) ? SPANS[span] : undefined;
  if (length !== undefined) return { start_ms: untilMs - length };
  return fixedSpan(span) ?? {};
}

/** A span of exits as the address spells it. */
export function spelled(startMs: number, endMs: number): string {
  return `${String(startMs)}-${String(endMs)}`;
}

/** The filter as parameters of a request. */
export function parameters(filter: TradeFilter, span: Span): Record<string, string[] | string | number> {
  const found: Record<string, string[] | string | number> = {};
  for (const kind of ["symbol", "strategy", "tier", "reason"] as const) {
    if (filter[kind].length > 0) found[kind] = [...filter[kind]];
  }
  if (filter.outcome !== null) found.outcome = filter.outcome;
  if (span.start_ms !== undefined) found.start_ms = span.start_ms;
  if (span.end_ms !== undefined) found.end_ms = span.end_ms;
  return found;
}

/** Whether a closed trade is among those that are shown. */
export function accepts(filter: TradeFilter, span: Span, trade: Trade): boolean {
  const listed = (wanted: readonly string[], value: string | null): boolean =>
    wanted.length === 0 || (value !== null && wanted.includes(value));
  const at = trade.exit_ms;
  if (at === null) return false;
  return (
    listed(filter.symbol, trade.symbol) &&
    listed(filter.strategy, trade.strategy) &&
    listed(filter.tier, trade.tier) &&
    listed(filter.reason, trade.exit_reason) &&
    (filter.outcome !== "win" || trade.pnl_quote > 0) &&
    (filter.outcome !== "loss" || trade.pnl_quote < 0) &&
    (span.start_ms === undefined || at >= span.start_ms) &&
    (span.end_ms === undefined || at < span.end_ms)
  );
}

/** The order of the table that an address names: `pnl_quote` is descending, `-pnl_quote` ascending. */
export function orderOf(address: Address): { order: TradeOrder; descending: boolean } {
  const sort = address.query.sort ?? "exit_ms";
  const ascending = sort.startsWith("-");
  const order = ORDERS.find((each) => each === sort.slice(ascending ? 1 : 0));
  return order === undefined ? { order: "exit_ms", descending: true } : { order, descending: !ascending };
}

/** The two moments of a span that names them; null of any other. */
export function fixedSpan(text: string): { start_ms: number; end_ms: number } | null {
  const match = /^(\d{1,15})-(\d{1,15})$/.exec(text);
  if (match === null) return null;
  const start = Number(match[1]);
  const end = Number(match[2]);
  return start < end ? { start_ms: start, end_ms: end } : null;
}
