/** The numbers of a strategy's rule, as its documentation names them. Pure. */

import { money, number, percent, words } from "$lib/format";

export interface Rule {
  readonly name: string;
  readonly label: string;
  readonly value: string;
  /** Where tiers differ. */
  readonly byTier?: readonly { readonly tier: string; readonly value: string }[];
}

type Written = (value: number) => string;

const share: Written = (value) => percent(value, { digits: 1 });
const times: Written = (value) => `${number(value)} ×`;
const plain: Written = (value) => String(value);

const KNOWN: Readonly<Record<string, readonly [string, Written]>> = {
  drop: ["fall below the 4 h high", share],
  volume_factor: ["volume to its 20-bar mean", times],
  levels: ["buys of a ladder", plain],
  size_quote: ["size of a buy", (value) => money(value)],
  spacing: ["distance of the rungs", share],
  breakout: ["close above resistance", (value) => percent(value - 1, { digits: 1, signed: true })],
  rsi_min: ["RSI above", plain],
  rsi_min_strict: ["RSI above, in strict mode", plain],
  max_entry_gap: ["gap to the next open at most", share],
  touches: ["touches on each side", plain],
  strength: ["strength of the channel", (value) => number(value)],
  width_round_trips: ["width in round-trip costs", times],
  bottom_share: ["buy zone, from the lower line", share],
  target_inset: ["target, below the upper line", share],
};

/** Every parameter in words; what nobody knows here keeps its name. */
export function rules(thresholds: Readonly<Record<string, unknown>>): Rule[] {
  return Object.entries(thresholds).map(([name, value]) => {
    const [label, written] = KNOWN[name] ?? [words(name), plain];
    if (isTiers(value)) {
      const tiers = Object.entries(value).map(([tier, each]) => ({ tier, value: written(each) }));
      const first = tiers[0]?.value ?? "";
      return tiers.every((tier) => tier.value === first) ? { name, label, value: first } : { name, label, value: "by tier", byTier: tiers };
    }
    return { name, label, value: typeof value === "number" ? written(value) : typeof value === "boolean" ? (value ? "yes" : "no") : JSON.stringify(value) };
  });
}

function isTiers(value: unknown): value is Record<string, number> {
  return typeof value === "object" && value !== null && Object.values(value).every((each) => typeof each === "number");
}
