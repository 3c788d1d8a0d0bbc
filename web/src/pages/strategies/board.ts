/** The readiness of all symbols under all strategies as one table: rows, filters, order. Pure. */

import type { Band, ReadinessBoard, ReadinessRow } from "$lib/api/types";

export interface HeatRow {
  readonly symbol: string;
  readonly tier: string;
  readonly price: number | null;
  readonly return_24h: number | null;
  readonly state: ReadinessRow["state"];
  /** By strategy; one that did not scan the symbol is missing. */
  readonly cells: Readonly<Record<string, ReadinessRow>>;
  readonly best: number;
}

export interface HeatFilter {
  readonly search: string;
  readonly tiers: readonly string[];
  readonly bands: readonly string[];
}

/** One row for each symbol, in the order of their names. */
export function heatRows(board: ReadinessBoard): HeatRow[] {
  const symbols = new Map<string, Record<string, ReadinessRow>>();
  for (const { strategy, rows } of board.items) {
    for (const row of rows) {
      const cells = symbols.get(row.symbol) ?? {};
      cells[strategy] = row;
      symbols.set(row.symbol, cells);
    }
  }
  const rows = [...symbols].flatMap(([symbol, cells]): HeatRow[] => {
    const [first] = Object.values(cells);
    if (first === undefined) return [];
    const best = Math.max(...Object.values(cells).map((cell) => cell.readiness ?? -1));
    const { tier, price, return_24h, state } = first;
    return [{ symbol, tier, price, return_24h, state, cells, best }];
  });
  return rows.sort((one, other) => one.symbol.localeCompare(other.symbol, "en"));
}

/** The rows of a filter: a band fits where any strategy is in it. */
export function filtered(rows: readonly HeatRow[], filter: HeatFilter): HeatRow[] {
  const search = filter.search.trim().toLowerCase();
  return rows.filter(
    (row) =>
      row.symbol.toLowerCase().includes(search) &&
      (filter.tiers.length === 0 || filter.tiers.includes(row.tier)) &&
      (filter.bands.length === 0 || Object.values(row.cells).some((cell) => filter.bands.includes(cell.band))),
  );
}

/** By a column; `id` is `symbol`, `tier`, `price`, `change`, `best`, or the name of a strategy. */
export function ordered(rows: readonly HeatRow[], id: string, descending: boolean): HeatRow[] {
  const by = (row: HeatRow): number | string | null => {
    if (id === "symbol") return row.symbol;
    if (id === "tier") return row.tier;
    if (id === "price") return row.price;
    if (id === "change") return row.return_24h;
    if (id === "best") return row.best;
    return row.cells[id]?.readiness ?? null;
  };
  const way = descending ? -1 : 1;
  return [...rows].sort((one, other) => {
    const [first, second] = [by(one), by(other)];
    if (first === null || second === null) return Number(first === null) - Number(second === null);
    const order =
      typeof first === "number" && typeof second === "number" ? first - second : String(first).localeCompare(String(second), "en");
    return order === 0 ? one.symbol.localeCompare(other.symbol, "en") : order * way;
  });
}

/** What a scan lacks where it is the price that has to come nearer; of other gates the distance would mislead. */
const OF_PRICE = new Set(["drop_too_small", "breakout_too_small", "not_in_buy_zone", "rule_not_met"]);

/** How far the price is from what would trigger, as a fraction of the price; null where it is not the price. */
export function distance(row: Pick<ReadinessRow, "price" | "trigger_price" | "reason">): number | null {
  return !OF_PRICE.has(row.reason) || row.price === null || row.trigger_price === null || row.price === 0 ? null : row.trigger_price / row.price - 1;
}

/** The nearest to a setup: readiness, then who passes every gate, then confidence. */
export function nearest(rows: readonly ReadinessRow[], count: number): ReadinessRow[] {
  const passed = (row: ReadinessRow): number => Number(row.reason === "accepted");
  return rows
    .filter((row) => row.readiness !== null)
    .sort(
      (one, other) =>
        (other.readiness ?? 0) - (one.readiness ?? 0) ||
        passed(other) - passed(one) ||
        (other.confidence ?? 0) - (one.confidence ?? 0),
    )
    .slice(0, count);
}

export const STATE_WORDS: Readonly<Record<ReadinessRow["state"], string>> = {
  free: "",
  held: "held",
  pending: "ordered",
  blocked: "blocked",
  cooldown: "cools down",
  doubtful: "bars doubtful",
};

export const TIERS = ["large_cap", "mid_cap", "small_cap", "memecoin"] as const;

export function isBand(text: string): text is Band {
  return text === "ready" || text === "close" || text === "neutral" || text === "waiting";
}
