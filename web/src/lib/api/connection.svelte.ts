// One websocket that is kept open: it signs in, notices silence, and opens again by itself.
import { session } from "../session.svelte";
import type { Hello, StreamMessage } from "./types";

export type LiveState = "connecting" | "open" | "lost" | "closed";

// Codes with which the server closes: it does not know the token, or the token may not read.
const UNKNOWN = 4401;
const NOT_ALLOWED = 4403;
/** So many beats may be missing, and so much longer one may take, before a stream is taken for dead. */
const SILENT_BEATS = 2;
const SILENCE_SPARE_MS = 1_000;
const HELLO_MS = 5_000;
const RETRY_MIN_MS = 400;
const RETRY_MAX_MS = 10_000;

export interface Ear {
  /** The server has greeted; `again` where there was a stream before. */
  greeted: (hello: Hello, again: boolean) => void;
  /** Everything that it says behind its greeting. */
  heard: (message: Exclude<StreamMessage, Hello>) => void;
  /** There is no stream any more, for now or for good. */
  lost: () => void;
}

export class Connection {
  state = $state<LiveState>("closed");
  /** Since when there is no connection; null while there is one. */
  lostSince = $state<number | null>(null);

  #socket: WebSocket | null = null;
  #beatMs: number | null = null; // as the greeting tells it; null before
  #greetedBefore = false;
  #attempt = 0;
  #retry = 0;
  #silence = 0;

  constructor(readonly ear: Ear) {}

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
    clearTimeout(this.#retry);
    this.#drop();
    this.state = "closed";
    this.lostSince = null;
    this.#attempt = 0;
    this.#greetedBefore = false;
  }

  /** Whether the server has greeted, so that it can be told what is wanted. */
  get ready(): boolean {
    return this.#beatMs !== null;
  }

  say(text: string): void {
    this.#socket?.send(text);
  }

  #hurry(): void {
    if (document.hidden || this.state !== "lost" || this.#socket) return;
    this.#attempt = 0;
    clearTimeout(this.#retry);
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
    if (message.type === "hello") this.#opened(message);
    else this.ear.heard(message);
    // Before the greeting nothing counts as a sign of life: a stream without one begins anew.
    if (this.ready) this.#watchSilence();
  }

  #opened(hello: Hello): void {
    const again = !this.ready && this.#greetedBefore;
    this.#beatMs = hello.beat_ms;
    this.#greetedBefore = true;
    this.#attempt = 0;
    this.state = "open";
    this.lostSince = null;
    this.ear.greeted(hello, again);
  }

  #watchSilence(): void {
    clearTimeout(this.#silence);
    const patience = this.#beatMs === null ? HELLO_MS : this.#beatMs * SILENT_BEATS + SILENCE_SPARE_MS;
    this.#silence = window.setTimeout(() => {
      if (this.#socket) this.#lose();
    }, patience);
  }

  #drop(): void {
    clearTimeout(this.#silence);
    const socket = this.#socket;
    this.#socket = null;
    this.#beatMs = null;
    this.ear.lost();
    if (socket) {
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.close();
    }
  }

  #lose(): void {
    this.#drop();
    this.state = "lost";
    this.lostSince ??= Date.now();
    this.#attempt += 1;
    const wait = Math.min(RETRY_MAX_MS, RETRY_MIN_MS * 2 ** (this.#attempt - 1));
    clearTimeout(this.#retry);
    this.#retry = window.setTimeout(() => this.#connect(), wait * (0.7 + 0.6 * Math.random()));
  }
}
