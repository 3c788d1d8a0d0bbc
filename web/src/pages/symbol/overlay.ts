/** What the API says of levels, fills and the position, as the chart draws it. Pure. */

import type { LevelLine, Mark, Position, StrategyLevels } from "$lib/api/types";
import { barOf, levelOnBars, placeOf } from "$lib/charts/align";
import type { Ruler } from "$lib/charts/rulers";
import type { Bars, DrawnLevel, DrawnMark, DrawnStraight, DrawnStudy, DrawnTrip } from "$lib/charts/types";
import { money, percent, price } from "$lib/format";

const DASHES = {
  trigger: "solid",
  resistance: "dashed",
  support: "dashed",
  channel_upper: "dashed",
  channel_lower: "dashed",
  target: "dotted",
  other: "dotted",
} as const;

/**
 * The lines of the chosen strategies on the bars. `order` decides their colours.
 */
export function drawnLevels(
  strategies: readonly StrategyLevels[],
  bars: Bars,
  order: readonly string[],
  chosen: readonly string[],
): DrawnLevel[] {
  return strategies
    .filter(({ strategy }) => chosen.includes(strategy))
    .flatMap(({ strategy, lines }) =>
      lines.map((line) => ({
        id: `${strategy} ${line.name}`,
        words: named(strategy, line.name),
        colour: Math.max(0, order.indexOf(strategy)),
        dash: DASHES[line.kind],
        values: levelOnBars(bars, line, spacing(line.time_ms)),
        ...(line.straight ? { straight: drawnStraights(line.straight, bars, spacing(line.time_ms)) } : {}),
      })),
  );
}

/** So many times the usual distance of scans the newest line goes on, as the next scan may be on its way. */
const GOES_ON = 4;

/** Straight lines among the bars; the newest goes on to the last bar. */
function drawnStraights(lines: NonNullable<LevelLine["straight"]>, bars: Bars, lasts_ms: number): DrawnStraight[] {
  const newest = bars.times.at(-1);
  if (newest === undefined) return [];
  const close = newest + bars.length_ms;
  return lines.start_ms.flatMap((start_ms, index): DrawnStraight[] => {
    const [end_ms, from_price, to_price] = [lines.end_ms[index], lines.start_price[index], lines.end_price[index]];
    if (end_ms === undefined || from_price === undefined || to_price === undefined) return [];
    const line = { from: placeOf(bars, start_ms), to: placeOf(bars, end_ms), from_price, to_price };
    const goesOn = index === lines.start_ms.length - 1 && end_ms < close && close - end_ms <= GOES_ON * lasts_ms;
    return [goesOn ? longer(line, bars.times.length - 0.5) : line];
  });
}

/** The same line up to another place. */
function longer(line: DrawnStraight, to: number): DrawnStraight {
  const slope = (line.to_price - line.from_price) / (line.to - line.from);
  return { ...line, to, to_price: line.to_price + slope * (to - line.to) };
}

/** The strategy whose price to wait for lies nearest to the last close; undefined where none waits for a price. */
export function nearestOf(strategies: readonly StrategyLevels[], close: number | undefined): string | undefined {
  if (close === undefined || close <= 0) return undefined;
  let nearest: { strategy: string; away: number } | undefined;
  for (const { strategy, lines } of strategies) {
    for (const line of lines) {
      const at = line.kind === "trigger" ? (line.price.at(-1) ?? null) : null;
      if (at === null) continue;
      const away = Math.abs(at / close - 1);
      if (nearest === undefined || away < nearest.away) nearest = { strategy, away };
    }
  }
  return nearest?.strategy;
}

/** A channel of CHANNEL is not named twice. */
function named(strategy: string, line: string): string {
  const [first = "", ...rest] = line.split(" ");
  return `${strategy} ${first.toUpperCase() === strategy ? rest.join(" ") : line}`;
}

/** How long a scan stands until the next one: their usual distance. */
function spacing(times: readonly number[]): number {
  const gaps = times.slice(1).map((time, index) => time - (times[index] ?? time));
  gaps.sort((first, second) => first - second);
  return (gaps[Math.floor(gaps.length / 2)] ?? 0) * 1.5;
}

/** Entry, stop, target and rungs of what is held. */
export function exitsOf(position: Position): Ruler[] {
  const { trade } = position;
  const from_ms = trade.entry_ms;
  const exits: Ruler[] = [
    {
      price: trade.entry_price,
      words: `entry ${percent(trade.return_net, { signed: true })}`,
      tone: "accent",
      from_ms,
      dash: "solid",
      onAxis: true,
    },
  ];
  if (position.target_price !== null) {
    exits.push({
      price: position.target_price,
      words: `target ${percent(position.to_target, { signed: true, digits: 1 })}`,
      tone: "up",
      from_ms,
      dash: "dashed",
      onAxis: true,
    });
  }
  if (position.stop_price !== null) {
    exits.push({
      price: position.stop_price,
      words: `${position.trailing_armed ? "trailing stop" : "stop"} ${percent(position.to_stop, { signed: true, digits: 1 })}`,
      tone: "down",
      from_ms,
      dash: "dashed",
      onAxis: true,
    });
  }
  for (const order of position.orders) {
    if (order.limit_price === null || order.status === "cancelled" || order.status === "expired") continue;
    const filled = order.status === "filled";
    exits.push({
      price: order.limit_price,
      words: filled ? `✓ rung ${order.rung}` : `rung ${order.rung} for ${money(order.quote, { digits: 0 })}`,
      tone: filled ? "muted" : "info",
      from_ms: filled ? (order.ended_ms ?? from_ms) : from_ms,
      dash: "dotted",
      onAxis: false,
    });
  }
  return exits;
}

/** Fills below and above their bars; the colour of a sale is that of its P&L. */
export function drawnMarks(marks: readonly Mark[], bars: Bars): DrawnMark[] {
  const end = (bars.times.at(-1) ?? -Infinity) + bars.length_ms;
  return marks.flatMap((mark, index): DrawnMark[] => {
    const bar = barOf(bars, mark.time_ms);
    if (bar < 0 || mark.time_ms >= end) return [];
    const id = String(index);
    if (mark.side === "buy") {
      const rung = mark.rung > 0;
      return [{ id, bar, kind: rung ? "rung" : "buy", tone: "accent", words: rung ? "" : mark.strategy }];
    }
    const tone = mark.pnl_quote === null ? "muted" : mark.pnl_quote >= 0 ? "up" : "down";
    return [{ id, bar, kind: "sell", tone, words: money(mark.pnl_quote, { signed: true }) }];
  });
}

/** From the average buy of each trade that was sold in sight to its sale. */
export function drawnTrips(marks: readonly Mark[], bars: Bars): DrawnTrip[] {
  const trades = new Map<string, Mark[]>();
  for (const mark of marks) trades.set(mark.trade_group_id, [...(trades.get(mark.trade_group_id) ?? []), mark]);
  return [...trades.values()].flatMap((fills): DrawnTrip[] => {
    const buys = fills.filter((fill) => fill.side === "buy");
    const sale = fills.findLast((fill) => fill.side === "sell");
    const first = buys[0];
    if (first === undefined || sale === undefined) return [];
    const quote = buys.reduce((sum, fill) => sum + fill.quote, 0);
    const units = buys.reduce((sum, fill) => sum + fill.quote / fill.price, 0);
    const [from, to] = [barOf(bars, first.time_ms), barOf(bars, sale.time_ms)];
    if (from < 0 || to < 0) return [];
    const tone = (sale.pnl_quote ?? 0) >= 0 ? "up" : "down";
    return [{ from, to, from_price: quote / units, to_price: sale.price, tone }];
  });
}

/** What is drawn, in words: for those who can not see it, and for tests. */
export interface Legend {
  readonly what: string;
  readonly value: string;
}

/** Everything over and below the candles as it stands at the last bar. */
export function legend(levels: readonly DrawnLevel[], exits: readonly Ruler[], studies: readonly DrawnStudy[]): Legend[] {
  const lines = levels.map((level) => ({ what: level.words, value: price(level.values.at(-1) ?? null) }));
  const curves = studies.flatMap((study) =>
    study.curves.map(({ words, values }) => ({
      what: words === "" ? study.words : `${study.words} ${words}`,
      value: study.format(values.at(-1) ?? null),
    })),
  );
  return [...lines, ...exits.map((exit) => ({ what: exit.words, value: price(exit.price) })), ...curves];
}
