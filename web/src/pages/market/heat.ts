// The heat list: how strong the colour of a symbol is, and in which order they stand.
import type { PairItem } from "../../lib/api/types";

export const ORDERS = ["return_24h", "return_1h", "volume", "name"] as const;
export type Order = (typeof ORDERS)[number];

export function isOrder(text: string | undefined): text is Order {
  return ORDERS.some((each) => each === text);
}

/** The return that the colours show under an order. */
export function shown(item: PairItem, order: Order): number | null {
  return order === "return_1h" ? item.return_1h : item.return_24h;
}

/** Symbols in an order; what is not known stands last. */
export function ordered(items: readonly PairItem[], order: Order): PairItem[] {
  const value = (item: PairItem): number =>
    (order === "volume" ? item.volume_24h_quote : shown(item, order)) ?? Number.NEGATIVE_INFINITY;
  return [...items].sort((first, second) =>
    order === "name" ? first.symbol.localeCompare(second.symbol) : value(second) - value(first) || first.symbol.localeCompare(second.symbol),
  );
}

/** Full colour stands for the return that nine of ten symbols stay below, but for no less than `least`. */
export function full(items: readonly PairItem[], order: Order, least = 0.01): number {
  const sizes = items
    .map((item) => shown(item, order))
    .filter((value): value is number => value !== null)
    .map(Math.abs)
    .sort((first, second) => first - second);
  return Math.max(least, sizes[Math.floor(sizes.length * 0.9)] ?? sizes.at(-1) ?? least);
}

/** How strong a colour is, 0 to 1. */
export function strength(value: number | null, most: number): number {
  return value === null ? 0 : Math.min(1, Math.abs(value) / most);
}
