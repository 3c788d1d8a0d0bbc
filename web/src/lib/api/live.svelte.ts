// The live stream of the page: subscribed to the union of what is wanted, it hands on what it tells, and says when
// everything must be fetched again.
import { SvelteMap } from "svelte/reactivity";

import { chosen } from "../account.svelte";
import { Connection, type LiveState } from "./connection.svelte";
import { Delivery } from "./delivery";
import type { EventOf, Topic } from "./topics";
import { Turns } from "./turns.svelte";
import type { Hello, StreamMessage } from "./types";

export type { LiveState } from "./connection.svelte";
export type { Topic } from "./topics";

export class Live {
  /** What the server says is wrong with all of the stream, while nothing comes through it; null while it is well. */
  trouble = $state<string | null>(null);
  /** How far the clock of the server is ahead of this one. */
  skew = $state(0);

  #connection = new Connection({
    greeted: (hello, again) => this.#greeted(hello, again),
    heard: (message) => this.#hear(message),
    lost: () => this.#turns.lost(),
  });
  #turns = new Turns();
  /** Why topics are not told of; all the others are. */
  #refused = new SvelteMap<Topic, string>();
  #delivery = new Delivery((event) => event.account === chosen.id);
  #healing = false;
  #subscribed = "";
  #account: string | null = null; // whose topics are subscribed
  #changing = false;

  get state(): LiveState {
    return this.#connection.state;
  }

  /** Since when there is no connection; null while there is one. */
  get lostSince(): number | null {
    return this.#connection.lostSince;
  }

  /** Whether all that is shown may be out of date. */
  get stale(): boolean {
    return this.state === "lost" || this.trouble !== null;
  }

  /** Whether what lives from these topics may be out of date. */
  staleOf(topics: readonly Topic[]): boolean {
    return this.stale || this.troubleOf(topics) !== null;
  }

  /** Why one of these topics is not told of; null where all of them are, or where it is the whole stream. */
  troubleOf(topics: readonly Topic[]): string | null {
    for (const topic of topics) {
      const why = this.#refused.get(topic);
      if (why !== undefined) return why;
    }
    return null;
  }

  /** Opens the stream and keeps it open; returns how to close it. */
  start(): () => void {
    const stop = this.#connection.start();
    return () => {
      stop();
      this.#delivery.clear();
      this.trouble = null;
      this.#refused.clear();
      this.#healing = false;
    };
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

  /** The account may have changed. */
  resubscribe(): void {
    this.#changed();
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

  #subscribe(): void {
    const account = chosen.id;
    if (account === null) return;
    const topics = this.#turns.plan(account);
    for (const topic of [...this.#refused.keys()]) {
      if (account !== this.#account || !topics.includes(topic)) this.#refused.delete(topic);
    }
    this.#account = account;
    if (!this.#connection.ready) return;
    const text = JSON.stringify({ type: "subscribe", account, topics });
    if (text === this.#subscribed) return;
    this.#subscribed = text;
    this.#turns.open = true;
    this.#connection.say(text);
  }

  #greeted(hello: Hello, again: boolean): void {
    this.skew = hello.now_ms - Date.now();
    this.#subscribed = "";
    this.#refused.clear();
    // After a gap all is fetched once the server tells of it again; where nothing is told, at once.
    if (again && chosen.id !== null && !this.#turns.empty) this.#healing = true;
    else if (again) this.#turns.renew();
    this.#subscribe();
  }

  #hear(message: Exclude<StreamMessage, Hello>): void {
    switch (message.type) {
      case "beat":
        this.skew = message.now_ms - Date.now();
        return;
      case "subscribed":
        this.trouble = null;
        if (message.account === this.#account) for (const topic of message.topics) this.#refused.delete(topic as Topic);
        this.#turns.told(message.account, message.topics, this.#healing, () => this.#delivery.flush());
        this.#healing = false;
        return;
      case "resync":
        this.trouble = null;
        this.#turns.renew();
        return;
      case "problem":
        if (message.topic === null) this.trouble = message.detail;
        else this.#refuse(message.topic as Topic, message.detail);
        return;
      default:
        this.trouble = null;
        if (!this.#delivery.put(message)) this.#turns.renew();
    }
  }

  /** One topic is not told of, until the server subscribes it after all; nothing else is the worse for it. */
  #refuse(topic: Topic, detail: string): void {
    const named = `${topic} is not told of: `;
    this.#refused.set(topic, detail.startsWith(named) ? detail.slice(named.length) : detail);
  }
}

export const live = new Live();
