// Rows of data quality: how old the newest bar of a timeframe is, and which rows are in trouble.
import type { DataRow } from "../../lib/api/types";

export const SPANS = ["5m", "15m", "1h", "4h", "1d"] as const;

/** Age of the newest bar of a timeframe, in the present of the account; null where there is none. */
export function ageOf(row: DataRow, span: string): number | null {
  const minute = row.newest_ms["1m"];
  const newest = row.newest_ms[span];
  if (newest === null || newest === undefined) return null;
  // The age of the minutes says where the present is.
  if (minute === null || minute === undefined || row.age_ms === null) return null;
  return Math.max(0, minute + row.age_ms - newest);
}

/** Whether something is to be told of a row: doubtful, too low a score, old or no bars, or bars held back. */
export function isTroubled(row: DataRow, least: number): boolean {
  return row.doubtful || row.why !== null || row.age_ms === null || row.quarantined > 0 || (row.score !== null && row.score < least);
}

/** Rows whose symbol or provider holds the words, in their order; only troubled ones where that is asked. */
export function narrowed(rows: readonly DataRow[], words: string, troubled: boolean, least: number): DataRow[] {
  const wanted = words.trim().toLowerCase();
  return rows.filter(
    (row) =>
      (wanted === "" || row.symbol.toLowerCase().includes(wanted) || row.provider.toLowerCase().includes(wanted)) &&
      (!troubled || isTroubled(row, least)),
  );
}
