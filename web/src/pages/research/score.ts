// The scorecard as bars: each target on an axis of its own kind, with its interval.
import type { ScoreRow, ScorecardView } from "../../lib/api/types";
import { money, number, percent } from "../../lib/format";

export interface Bar {
  /** All places are shares of the width, 0 to 1; null where nothing is known. */
  value: number | null;
  /** Whether there is an interval at all. */
  known: boolean;
  low: number;
  high: number;
  target: number;
  /** Whether the interval goes on beyond the picture. */
  openLow: boolean;
  openHigh: boolean;
}

/** Where value, interval and target of a row stand on its axis. */
export function bar(row: ScoreRow): Bar {
  const ends = axis(row);
  const place = (value: number): number => Math.max(0, Math.min(1, (value - ends.low) / (ends.high - ends.low)));
  return {
    value: row.value === null ? null : place(row.value),
    known: row.low !== null || row.high !== null,
    low: row.low === null ? 0 : place(row.low),
    high: row.high === null ? 1 : place(row.high),
    target: place(row.target),
    openLow: row.low === null || row.low < ends.low,
    openHigh: row.high === null || row.high > ends.high,
  };
}

/** Shares reach from 0 to 1, but for small ones; other figures as far as they and their target go. */
function axis(row: ScoreRow): { low: number; high: number } {
  const seen = [row.value, row.low, row.high, row.target].filter((value): value is number => value !== null);
  if (row.kind === "share") return { low: 0, high: Math.max(...seen) <= 0.25 ? 0.25 : 1 };
  const low = Math.min(0, ...seen);
  const high = Math.max(0, ...seen);
  const room = 0.08 * (high - low || 1);
  return { low: low < 0 ? low - room : 0, high: high + room };
}

/** A figure of a row in words. */
export function written(row: ScoreRow, value: number | null, quote: string): string {
  if (row.kind === "share") return percent(value, { digits: 1 });
  if (row.kind === "money") return money(value, { signed: value !== 0, unit: quote, digits: 0 });
  return number(value, { signed: row.key !== "profit_factor" && value !== 0 });
}

/** The state of a row in a word, and its tone. */
export function state(row: ScoreRow): { word: string; tone: "up" | "down" | "warn" | "muted"; hint: string } {
  if (row.state === "met")
    return row.sure
      ? { word: "met", tone: "up", hint: "The whole interval lies beyond the target." }
      : { word: "met, may be chance", tone: "up", hint: "The interval holds the target: chance may have decided." };
  if (row.state === "not_met")
    return row.sure
      ? { word: "missed", tone: "down", hint: "The whole interval lies short of the target." }
      : { word: "missed, may be chance", tone: "down", hint: "The interval holds the target: chance may have decided." };
  if (row.thin) return { word: "too few yet", tone: "warn", hint: `Counts from ${row.n_min} ${row.unit} on.` };
  return { word: "not known", tone: "muted", hint: row.why };
}

const VERDICTS: Readonly<Record<NonNullable<ScorecardView["verdict"]>, { word: string; tone: "up" | "warn" | "down" }>> = {
  go_on_to_live_preparation: { word: "Go on", tone: "up" },
  optimise: { word: "Optimise", tone: "warn" },
  pivot: { word: "Pivot", tone: "down" },
};

/** The sentence of a verdict without its first word, which stands beside it, and without the names that the table has. */
export function told(sentence: string): string {
  const rest = sentence.replace(/^(Optimise|Pivot|Go on[^:]*): /, "").replaceAll(/ \([a-z][\w., ]*\)/gi, "");
  return rest.replace(/^./, (first) => first.toUpperCase());
}

/** Whether not one target can be judged: a verdict would say more than is known. */
export function early(card: Pick<ScorecardView, "verdict" | "met" | "not_met">): boolean {
  return card.verdict !== null && card.met + card.not_met === 0;
}

/** The verdict in a word; null while there is none. */
export function verdict(
  card: Pick<ScorecardView, "verdict" | "met" | "not_met">,
): { word: string; tone: "up" | "warn" | "down" | "second" } | null {
  if (early(card)) return { word: "Too early to say", tone: "second" };
  return card.verdict === null ? null : VERDICTS[card.verdict];
}
