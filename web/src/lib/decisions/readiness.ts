/** How near a scan is to a setup, in words and colours. The number always stands beside them. */

import type { Band, Verdict } from "../api/types";
import { NOTHING, number } from "../format";

export const BANDS: readonly Band[] = ["ready", "close", "neutral", "waiting"];

export const BAND_TONES = { ready: "up", close: "warn", neutral: "info", waiting: "muted" } as const satisfies Record<
  Band,
  string
>;

export const BAND_WORDS: Readonly<Record<Band, string>> = {
  ready: "READY",
  close: "CLOSE",
  neutral: "NEUTRAL",
  waiting: "WAITING",
};

const LEAST: readonly (readonly [Band, number])[] = [
  ["ready", 80],
  ["close", 60],
  ["neutral", 30],
];

/** The band of a readiness; what is not known waits. */
export function bandOf(readiness: number | null): Band {
  return LEAST.find(([, least]) => (readiness ?? -1) >= least)?.[0] ?? "waiting";
}

/** A readiness as it is written: 79.9 is not yet 80, and says so. */
export function whole(readiness: number | null): string {
  return readiness === null ? NOTHING : number(Math.floor(readiness), { digits: 0 });
}

/** Whether the price is where it should be, and another gate stops it. */
export function isStopped(readiness: number | null, setup: boolean): boolean {
  return readiness !== null && readiness >= 100 && !setup;
}

export const VERDICT_TONES = { TAKE: "up", NEAR_MISS: "warn", SKIP: "muted" } as const satisfies Record<
  Verdict,
  string
>;

interface Said {
  readonly word: string;
  readonly tone: "up" | "warn" | "info" | "muted";
  /** Whose words its sentence are, where that is not plain. */
  readonly by: string;
}

/** What a scan came to. Of a setup the verdict is the portfolio's: one that it refused is a setup all the same. */
export function saidOf(scan: { readonly setup: boolean; readonly verdict: Verdict }): Said {
  if (!scan.setup) return scan.verdict === "NEAR_MISS" ? { word: "near miss", tone: "warn", by: "" } : { word: "no setup", tone: "muted", by: "" };
  if (scan.verdict === "SKIP") return { word: "setup, refused", tone: "info", by: "Refused by the portfolio: " };
  return { word: "setup", tone: "up", by: "" };
}

/** What a setup came to, in a list of decisions: a setup that the portfolio refused is skipped. */
export const DECISION_WORDS: Readonly<Record<Verdict, string>> = {
  TAKE: "taken",
  NEAR_MISS: "near miss",
  SKIP: "skipped",
};
