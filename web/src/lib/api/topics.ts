// What the stream is asked to tell.
import type {
  BarsEvent,
  DecisionsEvent,
  EquityEvent,
  HealthEvent,
  LogEvent,
  MendedEvent,
  PositionsEvent,
  RegimeEvent,
  TradesEvent,
} from "./types";

export interface LiveEvents {
  trades: TradesEvent;
  decisions: DecisionsEvent;
  positions: PositionsEvent;
  equity: EquityEvent;
  regime: RegimeEvent;
  log: LogEvent;
  health: HealthEvent;
}
export type PlainTopic = keyof LiveEvents;
export type BarsTopic = `bars:${string}`;
export type Topic = PlainTopic | BarsTopic;
export type EventOf<T extends Topic> = T extends PlainTopic ? LiveEvents[T] : BarsEvent | MendedEvent;
export type AnyEvent = LiveEvents[PlainTopic] | BarsEvent | MendedEvent;

/** So many topics the server takes at once. */
export const TOPICS_MAX = 16;

/** What is subscribed of what is wanted, which is named in the order in which it was asked for: every plain topic,
 * and where there are too many, the bars that were asked for last. What is left out is told. */
export function subscribable(wanted: Iterable<Topic>): { topics: Topic[]; left: Topic[] } {
  const all = [...new Set(wanted)];
  const plain = all.filter((topic) => !isBars(topic));
  const bars = all.filter(isBars);
  const room = Math.max(0, TOPICS_MAX - plain.length);
  const kept = bars.slice(Math.max(0, bars.length - room));
  return { topics: [...plain, ...kept].sort(), left: bars.slice(0, bars.length - kept.length) };
}

/** The topics of which an event tells. */
export function topicsOf(event: AnyEvent): Topic[] {
  if (event.type === "mended") return [`bars:${event.symbol}@${event.timeframe}`];
  if (event.type !== "bars") return [event.type];
  const names = event.items.map((bar): BarsTopic => `bars:${bar.symbol}@${bar.timeframe}`);
  return [...new Set(names)];
}

function isBars(topic: Topic): topic is BarsTopic {
  return topic.startsWith("bars:");
}
