/** Which indicators the address asks for, and what they draw on the candles. Pure. */

import { atr, bollinger, ema, macd, rsi, sma, vwap } from "$lib/charts/indicators";
import type { Bars, DrawnCurve, DrawnStudy } from "$lib/charts/types";
import { decimalsOf, number, price } from "$lib/format";

/** Those of a pane of their own come behind one name of the address, `pane=rsi:14`, in the order in which they stand. */
export const PANES = ["rsi", "atr", "macd"] as const;
export type PaneKind = (typeof PANES)[number];
export type Kind = "sma" | "ema" | "bands" | "vwap" | PaneKind;

export interface Choice {
  readonly kind: Kind;
  /** Nothing can be chosen of `vwap` and `macd`, which have 0. */
  readonly length: number;
}

/** What the menu offers; an address may ask for any other length up to LENGTH_MAX. */
export const LENGTHS = { sma: [20, 50, 200], ema: [20, 50, 200], bands: [10, 20, 50], rsi: [7, 14, 21], atr: [7, 14, 21] } as const;
export const USUAL = { bands: 20, rsi: 14, atr: 14 } as const;
export const DEVIATIONS = 2;
export const MACD = { fast: 12, slow: 26, signal: 9 } as const;
const LENGTH_MIN = 2;
const LENGTH_MAX = 400;
const DAY_MS = 86_400_000;

/** Names of the address that say how the chart looks: they stay while one goes from symbol to symbol. */
export const LOOKS = ["sma", "ema", "bands", "vwap", "pane", "volume", "scale"] as const;

/** What the address asks for; what means nothing there is left out. */
export function choicesOf(all: (name: string) => readonly string[]): Choice[] {
  const lengths = (name: string): number[] => [...new Set(all(name).flatMap((text) => lengthOf(text) ?? []))].sort((one, other) => one - other);
  const chosen: Choice[] = [];
  for (const kind of ["ema", "sma"] as const) for (const length of lengths(kind)) chosen.push({ kind, length });
  const bands = lengths("bands")[0];
  if (bands !== undefined) chosen.push({ kind: "bands", length: bands });
  if (all("vwap").includes("true")) chosen.push({ kind: "vwap", length: 0 });
  for (const text of all("pane")) {
    const one = paneOf(text);
    if (one !== undefined && !chosen.some(({ kind }) => kind === one.kind)) chosen.push(one);
  }
  return chosen;
}

/** What the address asks for that is not drawn, and how each name of it reads without that. Nothing is said of a lack of bars. */
export interface Refused {
  readonly words: string;
  readonly rest: Readonly<Record<string, readonly string[] | null>>;
}

const AVERAGES = { ema: "EMA", sma: "SMA", bands: "Bollinger bands" } as const;

/** What the address asks for and cannot have, with what is allowed; undefined where everything is drawn. */
export function refusedOf(all: (name: string) => readonly string[], timeframes: readonly string[]): Refused | undefined {
  const told: string[] = [];
  const allowed: string[] = [];
  const rest: Record<string, readonly string[] | null> = {};
  const sift = (name: string, fits: (text: string) => boolean, words: (text: string) => string, hint: string): void => {
    const wrong = all(name).filter((text) => !fits(text));
    if (wrong.length === 0) return;
    told.push(...wrong.map(words));
    if (!allowed.includes(hint)) allowed.push(hint);
    const kept = all(name).filter(fits);
    rest[name] = kept.length === 0 ? null : kept;
  };
  const known = (name: string): boolean => PANES.some((each) => each === name);
  const lengths = `lengths go from ${LENGTH_MIN} to ${LENGTH_MAX}`;
  sift("tf", (text) => timeframes.includes(text), (text) => `timeframe ${short(text)}`, `timeframes are ${timeframes.join(", ")}`);
  for (const [name, words] of Object.entries(AVERAGES)) {
    sift(name, (text) => lengthOf(text) !== undefined, (text) => `${words} ${short(text)}`, lengths);
  }
  sift("vwap", (text) => text === "true", (text) => `vwap=${short(text)}`, "VWAP is vwap=true");
  const pane = all("pane");
  const strange = pane.some((text) => !known(text.split(":")[0] ?? ""));
  const long = pane.some((text) => known(text.split(":")[0] ?? "") && paneOf(text) === undefined);
  const panes = `panes are ${PANES.join(", ")}`;
  sift("pane", (text) => paneOf(text) !== undefined, (text) => `pane ${short(text)}`, strange ? panes : lengths);
  if (strange && long && !allowed.includes(lengths)) allowed.push(lengths);
  return told.length === 0 ? undefined : { words: `Not drawn: ${told.join(", ")}; ${allowed.join("; ")}`, rest };
}

function short(text: string): string {
  return text.length <= 20 ? text || "(nothing)" : `${text.slice(0, 20)}…`;
}

function lengthOf(text: string | undefined): number | undefined {
  const length = Number(text);
  return Number.isInteger(length) && length >= LENGTH_MIN && length <= LENGTH_MAX ? length : undefined;
}

function paneOf(text: string): Choice | undefined {
  const [name, after] = text.split(":");
  const kind = PANES.find((each) => each === name);
  if (kind === undefined) return undefined;
  if (kind === "macd") return { kind, length: 0 };
  const length = after === undefined ? USUAL[kind] : lengthOf(after);
  return length === undefined ? undefined : { kind, length };
}

/** The panes as the address names them. */
export function panesNamed(chosen: readonly Choice[]): string[] {
  return chosen.filter(({ kind }) => isPane(kind)).map(({ kind, length }) => (length === 0 ? kind : `${kind}:${length}`));
}

export function isPane(kind: Kind): kind is PaneKind {
  return PANES.some((each) => each === kind);
}

/** The colour of an average is that of its length, among those that no built-in strategy has. */
export function inkOf(length: number): number {
  const usual = LENGTHS.ema.findIndex((each) => each === length);
  return 3 + (usual < 0 ? length % 3 : usual);
}

/**
 * So many candles before the first one in sight its values depend on, up to what can be seen: five lengths of an
 * exponential mean and ten of Wilder's leave less than 0.01 % of how it began.
 */
export function memoryOf(chosen: readonly Choice[], length_ms: number): number {
  const bars = chosen.map(({ kind, length }) => {
    if (kind === "vwap") return Math.ceil(DAY_MS / length_ms);
    if (kind === "macd") return 5 * (MACD.slow + MACD.signal);
    if (kind === "ema") return 5 * length;
    return kind === "rsi" || kind === "atr" ? 10 * length : length;
  });
  return Math.max(0, ...bars);
}

/** What is chosen, on the candles; of bars of a day the price of a day says nothing new. */
export function drawnStudies(chosen: readonly Choice[], bars: Bars): DrawnStudy[] {
  const digits = decimalsOf(bars.close.at(-1) ?? 1);
  const asPrice = (value: number | null): string => number(value, { digits });
  return chosen.flatMap(({ kind, length }): DrawnStudy[] => {
    const id = length === 0 ? kind : `${kind}:${length}`;
    switch (kind) {
      case "sma":
        return [{ id, words: `SMA ${length}`, curves: [line("", inkOf(length), sma(bars.close, length), "dashed")], format: price }];
      case "ema":
        return [{ id, words: `EMA ${length}`, curves: [line("", inkOf(length), ema(bars.close, length))], format: price }];
      case "bands": {
        const { upper, middle, lower } = bollinger(bars.close, length, DEVIATIONS);
        const curves = [line("upper", "muted", upper), line("middle", "muted", middle, "dotted"), line("lower", "muted", lower)];
        return [{ id, words: `Bollinger ${length}, ${DEVIATIONS}`, curves, format: price, band: true }];
      }
      case "vwap":
        return bars.length_ms >= DAY_MS ? [] : [{ id, words: "VWAP day", curves: [ofDays(bars)], format: price }];
      case "rsi": {
        const format = (value: number | null): string => number(value, { digits: Number.isInteger(value) ? 0 : 1 });
        const curves = [line("", 2, rsi(bars.close, length))];
        return [{ id, words: `RSI ${length}`, curves, format, pane: { range: [0, 100], rules: [70, 30] } }];
      }
      case "atr":
        return [{ id, words: `ATR ${length}`, curves: [line("", 3, atr(bars, length))], format: asPrice, pane: { rules: [] } }];
      case "macd": {
        const { fast, slow, signal } = MACD;
        const found = macd(bars.close, fast, slow, signal);
        const histogram: DrawnCurve = { words: "histogram", kind: "columns", ink: "muted", values: found.histogram };
        const curves = [histogram, line("line", 0, found.line), line("signal", 1, found.signal)];
        return [{ id, words: `MACD ${fast}, ${slow}, ${signal}`, curves, format: asPrice, pane: { rules: [] } }];
      }
    }
  });
}

function line(words: string, ink: DrawnCurve["ink"], values: DrawnCurve["values"], dash: DrawnCurve["dash"] = "solid"): DrawnCurve {
  return { words, kind: "line", ink, dash, values };
}

/** The price of each day, its lines apart. */
function ofDays(bars: Bars): DrawnCurve {
  const day = (bar: number): number => Math.floor((bars.times[bar] ?? NaN) / DAY_MS);
  return { ...line("", "text", vwap(bars)), ends: (bar) => day(bar) < day(bar + 1) };
}

/** What there is room for: on a narrow screen one pane, the last one. */
export function roomFor(studies: readonly DrawnStudy[], narrow: boolean): DrawnStudy[] {
  const last = studies.findLast((study) => study.pane !== undefined);
  return studies.filter((study) => !narrow || study.pane === undefined || study === last);
}
