// The fast regime as a picture: how far the reference went over each span, and where the rules begin.
import type { Market, Threshold } from "../../lib/api/types";

export type RegimeName = "PANIC" | "CAUTION" | "NORMAL" | "EUPHORIA";

export const SCALE: readonly RegimeName[] = ["PANIC", "CAUTION", "NORMAL", "EUPHORIA"];

/** Beyond the outermost limit so much of the picture is left, as a share of that limit. */
const ROOM = 0.35;

export interface Zone {
  regime: RegimeName;
  /** Shares of the width, 0 to 1. */
  from: number;
  to: number;
  /** Where its name stands, so that the marker does not cover it; null where it has no room. */
  label: number | null;
}

export interface Span {
  hours: number;
  now: number | null;
  /** Where the marker stands, 0 to 1; null where the return is not known. */
  at: number | null;
  /** Whether the return lies outside of the picture. */
  beyond: boolean;
  zones: Zone[];
  ticks: { limit: number; at: number; regime: RegimeName }[];
  /** The nearest limit that is not met yet, and how far it is; null where none is left or nothing is known. */
  next: { regime: RegimeName; away: number } | null;
  met: RegimeName | null;
}

export interface Picture {
  low: number;
  high: number;
  zero: number;
  spans: Span[];
}

/**
 * All spans on one axis, so that they can be read against each other. `name` is half the width of the name of a zone and
 * of the marker, as a share of the picture.
 */
export function picture(market: Market, name = NAME): Picture {
  const limits = market.thresholds.map((rule) => rule.limit);
  const low = Math.min(-0.01, ...limits) * (1 + ROOM);
  const high = Math.max(0.01, ...limits) * (1 + ROOM);
  const place = (value: number): number => Math.max(0, Math.min(1, (value - low) / (high - low)));
  const hours = [...new Set(market.thresholds.map((rule) => rule.hours))].sort((first, second) => first - second);
  return { low, high, zero: place(0), spans: hours.map((each) => span(market.thresholds, each, place, low, high, name)) };
}

function span(
  all: readonly Threshold[],
  hours: number,
  place: (value: number) => number,
  low: number,
  high: number,
  name: number,
): Span {
  const rules = all.filter((rule) => rule.hours === hours);
  const falls = rules.filter((rule) => rule.limit < 0).sort((first, second) => first.limit - second.limit);
  const rises = rules.filter((rule) => rule.limit >= 0).sort((first, second) => first.limit - second.limit);
  const now = rules[0]?.now ?? null;
  const zones: Zone[] = [];
  let from = 0;
  for (const rule of falls) {
    const to = place(rule.limit);
    zones.push({ regime: named(rule.regime), from, to, label: (from + to) / 2 });
    from = to;
  }
  const first = rises[0];
  const end = first ? place(first.limit) : 1;
  zones.push({ regime: "NORMAL", from, to: end, label: (from + end) / 2 });
  rises.forEach((rule, index) => {
    const after = rises[index + 1];
    const to = after ? place(after.limit) : 1;
    zones.push({ regime: named(rule.regime), from: place(rule.limit), to, label: (place(rule.limit) + to) / 2 });
  });
  const at = now === null ? null : place(now);
  return {
    hours,
    now,
    at,
    beyond: now !== null && (now < low || now > high),
    zones: zones.map((zone) => ({ ...zone, label: beside(zone, at, name) })),
    ticks: rules.map((rule) => ({ limit: rule.limit, at: place(rule.limit), regime: named(rule.regime) })),
    next: now === null ? null : nearest(rules, now),
    met: now === null ? null : strongest(rules),
  };
}

/** Half the width of a name and its marker, as a share of a picture of usual width. */
const NAME = 0.07;

/** The middle of a zone, or of its larger part where the marker stands on its name; null where the name is too wide. */
function beside(zone: Zone, at: number | null, name: number): number | null {
  const middle = (zone.from + zone.to) / 2;
  let [from, to] = [zone.from, zone.to];
  if (at !== null && at >= from && at <= to && Math.abs(middle - at) <= name) {
    if (at - from > to - at) to = at;
    else from = at;
  }
  return to - from >= 2 * name ? (from + to) / 2 : null;
}

function nearest(rules: readonly Threshold[], now: number): Span["next"] {
  const open = rules.filter((rule) => !rule.met).map((rule) => ({ regime: named(rule.regime), away: rule.limit - now }));
  open.sort((first, second) => Math.abs(first.away) - Math.abs(second.away));
  return open[0] ?? null;
}

/** The rules stand in the order in which they are asked; the first that is met decides. */
function strongest(rules: readonly Threshold[]): RegimeName | null {
  const met = rules.find((rule) => rule.met);
  return met ? named(met.regime) : null;
}

function named(regime: string): RegimeName {
  return SCALE.find((each) => each === regime) ?? "NORMAL";
}

/** What a regime means for whoever trades; `factor` is that of its sizes, null while it is not known. */
export function meaning(regime: string, factor: number | null): { entries: string; sizes: string } {
  if (regime === "PANIC") return { entries: "Nothing is bought", sizes: "No new position is opened; exits go on." };
  const entries = regime === "NORMAL" ? "Setups are bought" : "Setups are bought smaller";
  if (factor === null) return { entries, sizes: "" };
  if (factor === 1) return { entries: "Setups are bought", sizes: "Sizes are full." };
  return { entries, sizes: `Sizes are multiplied by ${factor.toFixed(2)}.` };
}

const TREND: Readonly<Record<string, string>> = {
  BULL: "above its averages of 50 and 200 days",
  BEAR: "below its averages of 50 and 200 days",
  NEUTRAL: "between its averages",
  CRASH: "falling fast: DCA buys nothing",
  UNKNOWN: "too few days are known; it counts as neutral",
};

/** The slow trend in words. */
export function trend(regime: string | null): string {
  return regime === null ? "no symbol stands for the market" : (TREND[regime] ?? "");
}

/** What the condition of the market means for the choice between setups. */
export function condition(market: Market): string {
  if (market.condition === null) return "not known";
  return market.favoured === null ? "no strategy is favoured" : `${market.favoured} comes first where room is short`;
}
