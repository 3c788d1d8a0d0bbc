// The live stream: one websocket for the page. It is subscribed to the union of what is wanted, notices silence,
// and heals by itself.
import { chosen } from "../account.svelte";
import { session } from "../session.svelte";
import { Delivery } from "./delivery";
import type { EventOf, Topic } from "./topics";
import { Turns } from "./turns.svelte";
import type { StreamMessage } from "./types";

export type { Topic } from "./topics";
export type LiveState = "connecting" | "open" | "lost" | "closed";

// Codes with which the server closes: it does not know the token, or the token may not read.
const UNKNOWN = 4401;
const NOT_ALLOWED = 4403;
const SILENCE_SPARE_MS = 1_000;
const FIRST_BEAT_MS = 5_000;
const SILENT_BEATS = 2;
const HELLO_MS = 5_000;
const RETRY_MIN_MS = 400;
const RETRY_MAX_MS = 10_000;

export class Live {
  state = $state<LiveState>("closed");
  /** Since when there is no connection; null while there is one. */
  lostSince = $state<number | null>(null);
  /** What the server says is wrong with the stream, while nothing comes through it; null while it is well. */
  trouble = $state<string | null>(null);
  /** Whether what is shown may be out of date. */
  readonly stale: boolean = $derived(this.state === "lost" || this.trouble !== null);
  /** How far the clock of the server is ahead of this one. */
  skew = $state(0);

  #socket: WebSocket | null = null;
  #turns = new Turns();
  #delivery = new Delivery((event) => event.account === chosen.id);
  #retryTimer = 0;
  #silence = 0;
  #attempt = 0;
  #beatMs = FIRST_BEAT_MS;
  #lastBeat = 0;
  #ready = false;
  #everOpen = false;
  #healing = false;
  #subscribed = "";
  #changing = false;

  /** Opens the stream and keeps it open; returns how to close it. */
  start(): () => void {
    const again = (): void => this.#hurry();
    // A machine that has lost its network knows it before any silence tells.
    const gone = (): void => {
      if (this.#socket) this.#lose();
    };
    addEventListener("online", again);
    addEventListener("offline", gone);
    document.addEventListener("visibilitychange", again);
    this.#connect();
    return () => {
      removeEventListener("online", again);
      removeEventListener("offline", gone);
      document.removeEventListener("visibilitychange", again);
      this.stop();
    };
  }

  stop(): void {
    clearTimeout(this.#retryTimer);
    clearTimeout(this.#silence);
    this.#drop();
    this.#delivery.clear();
    this.state = "closed";
    this.lostSince = null;
    this.trouble = null;
    this.#everOpen = false;
    this.#healing = false;
  }

  /** Begins anew, with another token. */
  restart(): void {
    this.stop();
    this.#attempt = 0;
    this.#connect();
  }

  /** Counts up whenever everything must be fetched anew: after a gap, or where messages were left out. */
  get generation(): number {
    return this.#turns.generation;
  }

  /** In which turn these topics are to be fetched; null while one waits for the stream to tell of them. */
  turnOf(topics: readonly Topic[]): number | null {
    return this.#turns.of(topics);
  }

  /** Calls `handler` for events of a topic, which must also be wanted. */
  on<T extends Topic>(topic: T, handler: (event: EventOf<T>) => void): () => void {
    return this.#delivery.on(topic, handler);
  }

  /** Subscribes topics for as long as somebody wants them. */
  want(topics: readonly Topic[]): () => void {
    this.#turns.add(topics);
    this.#changed();
    let released = false;
    return () => {
      if (released) return;
      released = true;
      this.#turns.remove(topics);
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
    const account = chosen.id;
    if (account === null) return;
    const topics = this.#turns.plan(account);
    if (!this.#ready || !this.#socket) return;
    const text = JSON.stringify({ type: "subscribe", account, topics });
    if (text === this.#subscribed) return;
    this.#subscribed = text;
    this.#turns.open = true;
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
      if (event.code === UNKNOWN || event.code === NOT_ALLOWED) session.refuse();
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
        this.trouble = null;
        this.#turns.told(message.account, message.topics, this.#healing, () => this.#delivery.flush());
        this.#healing = false;
        return;
      case "resync":
        this.trouble = null;
        this.#turns.renew();
        return;
      case "problem":
        this.trouble = message.detail;
        return;
      default:
        this.trouble = null;
        if (!this.#delivery.put(message)) this.#turns.renew();
    }
  }

  #opened(): void {
    this.#ready = true;
    const healed = this.#everOpen;
    this.#everOpen = true;
    this.#attempt = 0;
    this.state = "open";
    this.lostSince = null;
    if (!healed) return;
    // Fetched once the server tells of it again; where nothing is told, at once.
    if (chosen.id !== null && !this.#turns.empty) this.#healing = true;
    else this.#turns.renew();
  }

  #watchSilence(): void {
    clearTimeout(this.#silence);
    this.#silence = window.setTimeout(() => {
      if (this.#socket) this.#lose();
    }, this.#ready ? this.#beatMs * SILENT_BEATS + SILENCE_SPARE_MS : HELLO_MS);
  }

  #drop(): void {
    const socket = this.#socket;
    this.#socket = null;
    this.#ready = false;
    this.#turns.lost();
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

export const live = new Live();
