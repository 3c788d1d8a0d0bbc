// The live stream: one websocket for the page. It is subscribed to the union of what is wanted, notices silence,
// heals by itself, and hands events on in step with the screen, so that a burst costs one frame.
import { chosen } from "../account.svelte";
import { session } from "../session.svelte";
import type {
  BarsEvent,
  DecisionsEvent,
  EquityEvent,
  HealthEvent,
  LogEvent,
  PositionsEvent,
  RegimeEvent,
  StreamMessage,
  TradesEvent,
} from "./types";

export type LiveState = "connecting" | "open" | "lost" | "closed";

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
export type EventOf<T extends Topic> = T extends PlainTopic ? LiveEvents[T] : BarsEvent;
type AnyEvent = LiveEvents[PlainTopic] | BarsEvent;
type Handler = (event: AnyEvent) => void;

// Codes with which the server closes: it does not know the token, or the token may not read.
const UNKNOWN = 4401;
const NOT_ALLOWED = 4403;
const TOPICS_MAX = 16;
const QUEUE_MAX = 1_000;
const LATE_MS = 1_000;
const FIRST_BEAT_MS = 5_000;
const SILENT_BEATS = 3;
const HELLO_MS = 5_000;
const RETRY_MIN_MS = 400;
const RETRY_MAX_MS = 10_000;

class Live {
  state = $state<LiveState>("closed");
  /** Since when there is no connection; null while there is one. */
  lostSince = $state<number | null>(null);
  /** Counts up whenever everything must be fetched anew: after a gap, or where messages were left out. */
  generation = $state(0);
  /** How far the clock of the server is ahead of this one. */
  skew = $state(0);

  #socket: WebSocket | null = null;
  #wanted = new Map<Topic, number>();
  #handlers = new Map<Topic, Set<Handler>>();
  #queue: AnyEvent[] = [];
  #frame = 0;
  #late = 0;
  #retryTimer = 0;
  #silence = 0;
  #attempt = 0;
  #beatMs = FIRST_BEAT_MS;
  #lastBeat = 0;
  #ready = false;
  #everOpen = false;
  #subscribed = "";
  #changing = false;

  /** Opens the stream and keeps it open; returns how to close it. */
  start(): () => void {
    const again = (): void => this.#hurry();
    addEventListener("online", again);
    document.addEventListener("visibilitychange", again);
    this.#connect();
    return () => {
      removeEventListener("online", again);
      document.removeEventListener("visibilitychange", again);
      this.stop();
    };
  }

  stop(): void {
    clearTimeout(this.#retryTimer);
    clearTimeout(this.#silence);
    this.#drop();
    this.#queue = [];
    this.state = "closed";
    this.lostSince = null;
    this.#everOpen = false;
  }

  /** Begins anew, with another token. */
  restart(): void {
    this.stop();
    this.#attempt = 0;
    this.#connect();
  }

  /** Calls `handler` for events of a topic, which must also be wanted. */
  on<T extends Topic>(topic: T, handler: (event: EventOf<T>) => void): () => void {
    const handlers = this.#handlers.get(topic) ?? new Set<Handler>();
    this.#handlers.set(topic, handlers);
    const stored = handler as Handler;
    handlers.add(stored);
    return () => {
      handlers.delete(stored);
      if (handlers.size === 0) this.#handlers.delete(topic);
    };
  }

  /** Subscribes topics for as long as somebody wants them. */
  want(topics: readonly Topic[]): () => void {
    for (const topic of topics) this.#wanted.set(topic, (this.#wanted.get(topic) ?? 0) + 1);
    this.#changed();
    let released = false;
    return () => {
      if (released) return;
      released = true;
      for (const topic of topics) {
        const left = (this.#wanted.get(topic) ?? 1) - 1;
        if (left > 0) this.#wanted.set(topic, left);
        else this.#wanted.delete(topic);
      }
      this.#changed();
    };
  }

  /** Tells the server what is wanted; several changes of one moment are one message. */
  #changed(): void {
    if (this.#changing) return;
    this.#changing = true;
    queueMicrotask(() => {
      this.#changing = false;
      this.#subscribe();
    });
  }

  /** The account may have changed. */
  resubscribe(): void {
    this.#changed();
  }

  #subscribe(): void {
    if (!this.#ready || !this.#socket || chosen.id === null) return;
    const topics = [...this.#wanted.keys()].sort().slice(0, TOPICS_MAX);
    const text = JSON.stringify({ type: "subscribe", account: chosen.id, topics });
    if (text === this.#subscribed) return;
    this.#subscribed = text;
    this.#queue = [];
    this.#socket.send(text);
  }

  #hurry(): void {
    if (document.hidden || this.state !== "lost" || this.#socket) return;
    this.#attempt = 0;
    clearTimeout(this.#retryTimer);
    this.#connect();
  }

  #connect(): void {
    if (this.state !== "lost") this.state = "connecting";
    const url = new URL("/api/v1/ws", location.href);
    url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(url);
    this.#socket = socket;
    this.#watchSilence();
    socket.onopen = () => {
      if (session.token !== null) socket.send(JSON.stringify({ type: "auth", token: session.token }));
    };
    socket.onmessage = (event: MessageEvent<string>) => this.#hear(JSON.parse(event.data) as StreamMessage);
    socket.onclose = (event) => {
      if (this.#socket !== socket) return;
      if (event.code === UNKNOWN || event.code === NOT_ALLOWED) session.refused = true;
      this.#lose();
    };
  }

  #hear(message: StreamMessage): void {
    // Before the greeting nothing counts as a sign of life: a stream without one begins anew.
    if (this.#ready) this.#watchSilence();
    switch (message.type) {
      case "hello":
        this.skew = message.now_ms - Date.now();
        this.#subscribed = "";
        if (!this.#ready) this.#opened();
        this.#watchSilence();
        this.#subscribe();
        return;
      case "beat": {
        const now = performance.now();
        if (this.#lastBeat > 0) this.#beatMs = pace(this.#beatMs, now - this.#lastBeat);
        this.#lastBeat = now;
        this.skew = message.now_ms - Date.now();
        return;
      }
      case "subscribed":
        return;
      case "resync":
        this.generation += 1;
        return;
      case "problem":
        console.warn(`live stream: ${message.detail}`);
        return;
      default:
        this.#enqueue(message);
    }
  }

  #opened(): void {
    this.#ready = true;
    const healed = this.#everOpen;
    this.#everOpen = true;
    this.#attempt = 0;
    this.state = "open";
    this.lostSince = null;
    if (healed) this.generation += 1;
  }

  #enqueue(event: AnyEvent): void {
    if (event.account !== chosen.id) return;
    if (this.#queue.length >= QUEUE_MAX) {
      this.#queue = [];
      this.generation += 1;
      return;
    }
    this.#queue.push(event);
    if (this.#frame) return;
    this.#frame = requestAnimationFrame(() => this.#flush());
    this.#late = window.setTimeout(() => this.#flush(), LATE_MS); // a page that is not seen has no frames
  }

  #flush(): void {
    cancelAnimationFrame(this.#frame);
    clearTimeout(this.#late);
    this.#frame = 0;
    const events = this.#queue;
    this.#queue = [];
    for (const event of events) {
      for (const topic of topicsOf(event)) for (const handler of [...(this.#handlers.get(topic) ?? [])]) handler(event);
    }
  }

  #watchSilence(): void {
    clearTimeout(this.#silence);
    this.#silence = window.setTimeout(() => {
      if (this.#socket) this.#lose();
    }, this.#ready ? this.#beatMs * SILENT_BEATS + LATE_MS : HELLO_MS);
  }

  #drop(): void {
    const socket = this.#socket;
    this.#socket = null;
    this.#ready = false;
    this.#lastBeat = 0;
    if (socket) {
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.close();
    }
  }

  #lose(): void {
    clearTimeout(this.#silence);
    this.#drop();
    this.state = "lost";
    this.lostSince ??= Date.now();
    this.#attempt += 1;
    const wait = Math.min(RETRY_MAX_MS, RETRY_MIN_MS * 2 ** (this.#attempt - 1));
    clearTimeout(this.#retryTimer);
    this.#retryTimer = window.setTimeout(() => this.#connect(), wait * (0.7 + 0.6 * Math.random()));
  }
}

/** How often the server gives a sign of life: a shorter gap counts at once, a longer one (a busy or sleeping
 * machine) only little by little. */
function pace(before: number, gap: number): number {
  const next = gap < before ? gap : before + 0.1 * (gap - before);
  return Math.max(1_000, Math.min(30_000, next));
}

function topicsOf(event: AnyEvent): Topic[] {
  if (event.type !== "bars") return [event.type];
  const names = event.items.map((bar): BarsTopic => `bars:${bar.symbol}@${bar.timeframe}`);
  return [...new Set(names)];
}

export const live = new Live();
