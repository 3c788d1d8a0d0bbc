// What share of its time an account spent in each regime.
import type { RegimeSpan } from "../../lib/api/types";

export interface Part {
  regime: string;
  ms: number;
  share: number;
}

const ORDER = ["NORMAL", "CAUTION", "PANIC", "EUPHORIA"];

/** The regimes that occurred in [start, until); what no span names was NORMAL. */
export function shares(spans: readonly RegimeSpan[], start: number, until: number): Part[] {
  const whole = Math.max(until - start, 0);
  if (whole === 0) return [];
  const lasted = new Map<string, number>();
  let named = 0;
  for (const span of spans) {
    const ms = Math.max(0, Math.min(span.end_ms, until) - Math.max(span.start_ms, start));
    lasted.set(span.regime, (lasted.get(span.regime) ?? 0) + ms);
    named += ms;
  }
  lasted.set("NORMAL", (lasted.get("NORMAL") ?? 0) + Math.max(whole - named, 0));
  return [...lasted]
    .filter(([, ms]) => ms > 0)
    .map(([regime, ms]) => ({ regime, ms, share: ms / whole }))
    .sort((first, second) => ORDER.indexOf(first.regime) - ORDER.indexOf(second.regime));
}
