import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { Live } from "./live.svelte";
import { subscribable, TOPICS_MAX, type Topic } from "./topics";

const chosen = vi.hoisted(() => ({ id: "august" as string | null }));
vi.mock("../account.svelte", () => ({ chosen }));
vi.mock("../session.svelte", () => ({ session: { token: null, refused: false } }));

class Socket {
  static last: Socket;
  static opened = 0;
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: string }) => void) | null = null;
  onclose: ((event: { code: number }) => void) | null = null;
  sent: string[] = [];

  constructor() {
    Socket.last = this;
    Socket.opened += 1;
  }
  send(text: string): void {
    this.sent.push(text);
  }
  close(): void {
    this.onclose?.({ code: 1000 });
  }
  say(message: object): void {
    this.onmessage?.({ data: JSON.stringify(message) });
  }
}

const BEAT_MS = 2_000;
const HELLO = { type: "hello", actor: "web:anna", now_ms: 0, beat_ms: BEAT_MS };
const EQUITY = { type: "equity", account: "august", points: [], status: {} };

function subscribed(...topics: Topic[]): object {
  return { type: "subscribed", account: "august", topics };
}

let live: Live;
let close: () => void;

beforeEach(() => {
  vi.useFakeTimers();
  vi.stubGlobal("window", globalThis);
  vi.stubGlobal("location", { href: "http://localhost/", protocol: "http:" });
  vi.stubGlobal("document", { hidden: false, addEventListener: vi.fn(), removeEventListener: vi.fn() });
  vi.stubGlobal("addEventListener", vi.fn());
  vi.stubGlobal("removeEventListener", vi.fn());
  vi.stubGlobal("WebSocket", Socket);
  vi.stubGlobal("requestAnimationFrame", (act: () => void) => setTimeout(act, 16));
  vi.stubGlobal("cancelAnimationFrame", (id: number) => clearTimeout(id));
  chosen.id = "august";
  Socket.opened = 0;
  close = () => undefined;
  live = new Live();
});

afterEach(() => {
  close();
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

async function opened(...topics: Topic[]): Promise<Socket> {
  close = live.start();
  live.want(topics);
  await vi.advanceTimersByTimeAsync(0);
  Socket.last.say(HELLO);
  return Socket.last;
}

test("what is wanted waits for the stream to tell of it, and for what that says at once", async () => {
  const socket = await opened("trades", "equity");
  const heard: string[] = [];
  live.on("equity", () => heard.push(String(live.turnOf(["equity"]))));
  expect(socket.sent.map((text) => JSON.parse(text) as object)).toEqual([
    { type: "subscribe", account: "august", topics: ["equity", "trades"] },
  ]);
  expect(live.turnOf(["trades"])).toBeNull();
  socket.say(subscribed("equity", "trades"));
  socket.say(EQUITY);
  expect(live.turnOf(["trades"])).toBeNull();
  await vi.advanceTimersByTimeAsync(40);
  expect(heard).toEqual(["null"]);
  expect(live.turnOf(["trades", "equity"])).not.toBeNull();
});

test("a stream that is late is not waited for, and what it tells of then is fetched again", async () => {
  const socket = await opened("trades");
  await vi.advanceTimersByTimeAsync(999);
  expect(live.turnOf(["trades"])).toBeNull();
  await vi.advanceTimersByTimeAsync(1);
  const without = live.turnOf(["trades"]);
  expect(without).not.toBeNull();
  socket.say(subscribed("trades"));
  await vi.advanceTimersByTimeAsync(40);
  expect(live.turnOf(["trades"])).toBeGreaterThan(without ?? Infinity);
});

test("where there is no stream yet one does not wait long", async () => {
  close = live.start();
  live.want(["trades"]);
  await vi.advanceTimersByTimeAsync(300);
  expect(live.turnOf(["trades"])).not.toBeNull();
});

test("a topic that is added is fetched, and those before it stay as they are", async () => {
  const socket = await opened("trades");
  socket.say(subscribed("trades"));
  await vi.advanceTimersByTimeAsync(40);
  const before = live.turnOf(["trades"]);
  live.want(["log"]);
  await vi.advanceTimersByTimeAsync(0);
  socket.say(subscribed("log", "trades"));
  await vi.advanceTimersByTimeAsync(40);
  expect(live.turnOf(["trades"])).toBe(before);
  expect(live.turnOf(["log"])).not.toBeNull();
});

test("a topic that was let go of in between is waited for anew", async () => {
  const socket = await opened("trades");
  const release = live.want(["log"]);
  await vi.advanceTimersByTimeAsync(0);
  socket.say(subscribed("log", "trades"));
  await vi.advanceTimersByTimeAsync(40);
  release();
  await vi.advanceTimersByTimeAsync(0);
  live.want(["log"]);
  await vi.advanceTimersByTimeAsync(0);
  expect(live.turnOf(["log"])).toBeNull();
});

test("after a lost connection everything is fetched once the stream tells again", async () => {
  const socket = await opened("trades");
  socket.say(subscribed("trades"));
  await vi.advanceTimersByTimeAsync(40);
  const before = live.generation;
  socket.onclose?.({ code: 1011 });
  expect(live.stale).toBe(true);
  await vi.advanceTimersByTimeAsync(1_000);
  Socket.last.say(HELLO);
  await vi.advanceTimersByTimeAsync(40);
  expect(live.generation).toBe(before);
  Socket.last.say(subscribed("trades"));
  await vi.advanceTimersByTimeAsync(40);
  expect(live.generation).toBe(before + 1);
});

test("another account is waited for, and events of the one before are dropped", async () => {
  const socket = await opened("equity");
  socket.say(subscribed("equity"));
  await vi.advanceTimersByTimeAsync(40);
  const heard: unknown[] = [];
  live.on("equity", (event) => heard.push(event));
  socket.say(EQUITY);
  chosen.id = "run:1";
  live.resubscribe();
  expect(live.turnOf(["equity"])).toBeNull();
  await vi.advanceTimersByTimeAsync(20);
  expect(heard).toEqual([]);
  expect(live.turnOf(["equity"])).toBeNull();
});

test.each([
  ["what follows", EQUITY],
  ["a greeting", subscribed("equity")],
  ["a gap", { type: "resync", account: "august" }],
])("what is wrong with the stream is told until %s", async (_, message) => {
  const socket = await opened("equity");
  socket.say({ type: "problem", detail: "the records are being moved", topic: null });
  expect(live.state).toBe("open");
  expect(live.trouble).toBe("the records are being moved");
  expect(live.stale).toBe(true);
  socket.say({ type: "beat", now_ms: 0 });
  expect(live.stale).toBe(true);
  socket.say(message);
  expect(live.trouble).toBeNull();
  expect(live.stale).toBe(false);
});

const BARS: Topic = "bars:BTC/USDT@15m";

/** The stream of a page with a chart, whose bars the server refuses. */
async function refused(): Promise<Socket> {
  const socket = await opened("equity", BARS);
  socket.say({ type: "problem", detail: `${BARS} is not told of: there are no bars`, topic: BARS });
  socket.say(subscribed("equity"));
  return socket;
}

test("a topic that is refused is old until the server tells of it after all, and nothing else is", async () => {
  const socket = await refused();
  expect([live.trouble, live.stale, live.staleOf(["equity"])]).toEqual([null, false, false]);
  expect(live.staleOf(["equity", BARS])).toBe(true);
  expect(live.troubleOf([BARS])).toBe("there are no bars");
  socket.say(EQUITY);
  socket.say({ type: "resync", account: "august" });
  expect(live.staleOf([BARS])).toBe(true);
  socket.say({ ...subscribed("equity", BARS), account: "july" });
  expect(live.staleOf([BARS])).toBe(true);
  socket.say(subscribed("equity", BARS));
  expect(live.staleOf([BARS])).toBe(false);
});

test.each<[string, (release: () => void) => void]>([
  ["nobody wants it any more", (release) => release()],
  [
    "another account is looked at",
    () => {
      chosen.id = "run:1";
      live.resubscribe();
    },
  ],
  [
    "the stream begins anew",
    () => {
      Socket.last.onclose?.({ code: 1012 });
    },
  ],
])("what was wrong with a topic is forgotten once %s", async (_, happens) => {
  const socket = await opened("equity");
  const release = live.want([BARS]);
  await vi.advanceTimersByTimeAsync(0);
  socket.say({ type: "problem", detail: "there are no bars", topic: BARS });
  expect(live.troubleOf([BARS])).toBe("there are no bars");
  happens(release);
  await vi.advanceTimersByTimeAsync(1_000);
  if (Socket.last !== socket) Socket.last.say(HELLO);
  expect(live.troubleOf([BARS])).toBeNull();
});

test("without an account nothing is waited for", () => {
  chosen.id = null;
  expect(live.turnOf(["health"])).not.toBeNull();
});

test("no more is subscribed than a stream takes: all plain topics, and the bars that were wanted last", () => {
  const plain: Topic[] = ["trades", "decisions", "positions", "equity", "regime", "log", "health"];
  const bars = Array.from({ length: 12 }, (_, index): Topic => `bars:A${String(index)}/USDT@15m`);
  const { topics, left } = subscribable([...bars, ...plain, ...plain]);
  expect(topics).toHaveLength(TOPICS_MAX);
  expect(topics).toEqual(expect.arrayContaining([...plain, ...bars.slice(3)]));
  expect(left).toEqual(bars.slice(0, 3));
});

test.each([200, BEAT_MS, 12_000, 60_000])("a stream that beats every %i ms is kept as long as it beats", async (beat_ms) => {
  const socket = await opened("trades");
  socket.say({ ...HELLO, beat_ms });
  for (let beat = 0; beat < 10; beat++) {
    await vi.advanceTimersByTimeAsync(beat_ms);
    socket.say({ type: "beat", now_ms: 0 });
  }
  expect(live.state).toBe("open");
  expect(Socket.opened).toBe(1);
});

test("a stream that misses two beats is lost, a second after", async () => {
  const socket = await opened("trades");
  await vi.advanceTimersByTimeAsync(500);
  socket.say({ type: "beat", now_ms: 0 });
  await vi.advanceTimersByTimeAsync(2 * BEAT_MS + 999);
  expect(live.state).toBe("open");
  await vi.advanceTimersByTimeAsync(1);
  expect(live.state).toBe("lost");
  expect(live.lostSince).toBe(Date.now());
});

test("a stream that says something but greets nobody is given up", async () => {
  close = live.start();
  for (let second = 0; second < 5; second++) {
    Socket.last.say({ type: "beat", now_ms: 0 });
    await vi.advanceTimersByTimeAsync(1_000);
  }
  expect(live.state).toBe("lost");
});
