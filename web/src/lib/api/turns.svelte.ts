// What is wanted of the stream, since when it is told, and in which turn it must therefore be fetched: after the
// server has begun to tell of a topic, so that nothing falls between an answer and the first event.
import { SvelteMap } from "svelte/reactivity";

import { chosen } from "../account.svelte";
import { forgetAnswers } from "./client";
import { subscribable, type Topic } from "./topics";

/** What is fetched waits so long for the stream; then it is fetched without it, and again once it is there. */
const PATIENCE_MS = 300;
/** So long where the server has the question, and reads its records for the first time. */
const PATIENCE_OPEN_MS = 1_000;
/** And so long for what the stream says of the present as soon as it is asked. */
const GREETING_MS = 40;

export class Turns {
  /** Counts up whenever everything must be fetched anew: after a gap, or where messages were left out. */
  generation = $state(0);
  /** Whether there is a stream that was told what is wanted. */
  open = false;

  #wanted = new Map<Topic, number>();
  #told = new Set<Topic>(); // what the server tells of now
  #account = $state<string | null>(null);
  #turns = new SvelteMap<Topic, number>();
  #turn = 0;
  #patience = 0;
  #greeting = 0;

  get empty(): boolean {
    return this.#wanted.size === 0;
  }

  add(topics: readonly Topic[]): void {
    for (const topic of topics) this.#wanted.set(topic, (this.#wanted.get(topic) ?? 0) + 1);
  }

  remove(topics: readonly Topic[]): void {
    for (const topic of topics) {
      const left = (this.#wanted.get(topic) ?? 1) - 1;
      if (left > 0) this.#wanted.set(topic, left);
      else this.#wanted.delete(topic);
    }
  }

  /** In which turn topics are to be fetched; null while one waits for them. It is reactive. */
  of(topics: readonly Topic[]): number | null {
    let turn = this.generation;
    if (topics.length === 0 || chosen.id === null) return turn;
    if (this.#account !== chosen.id) return null;
    for (const topic of topics) {
      const own = this.#turns.get(topic);
      if (own === undefined) return null;
      turn += own;
    }
    return turn;
  }

  /** What is to be subscribed of an account now. */
  plan(account: string): Topic[] {
    if (this.#account !== account) {
      this.#account = account;
      this.#told.clear();
      this.#turns.clear();
    }
    const { topics, left } = subscribable(this.#wanted.keys());
    if (left.length > 0 && import.meta.env.DEV) console.error(`a stream takes fewer topics: ${left.join(", ")}`);
    for (const topic of [...this.#turns.keys()]) {
      if (this.#wanted.has(topic)) continue;
      this.#turns.delete(topic);
      this.#told.delete(topic);
    }
    if (!this.#patience && [...this.#wanted.keys()].some((topic) => !this.#turns.has(topic))) {
      const end = (): void => {
        this.#patience = 0;
        this.#begin([...this.#wanted.keys()].filter((topic) => !this.#turns.has(topic)));
      };
      this.#patience = window.setTimeout(() => {
        if (this.open) this.#patience = window.setTimeout(end, PATIENCE_OPEN_MS - PATIENCE_MS);
        else end();
      }, PATIENCE_MS);
    }
    return topics;
  }

  /** The server tells of these topics from now on: those that it did not tell of before are to be fetched, once what
   * it says of the present was `flushed`; all of them after a gap. */
  told(account: string, topics: readonly string[], gap: boolean, flushed: () => void): void {
    if (account !== chosen.id || account !== this.#account) return;
    const now = [...this.#wanted.keys()].filter((topic) => topics.includes(topic));
    const added = now.filter((topic) => !this.#told.has(topic));
    this.#told = new Set(now);
    if (added.length === 0 && !gap) return;
    const begin = (): void => {
      flushed();
      if (account === this.#account) this.#begin(added.filter((topic) => this.#wanted.has(topic)));
      if (gap) this.renew();
    };
    this.#greeting = window.setTimeout(begin, GREETING_MS);
  }

  /** Everything must be fetched anew. */
  renew(): void {
    forgetAnswers();
    this.generation += 1;
  }

  /** There is no stream any more: what it told of must be told of again. */
  lost(): void {
    this.open = false;
    clearTimeout(this.#greeting);
    this.#told.clear();
  }

  #begin(topics: readonly Topic[]): void {
    if (topics.length === 0) return;
    forgetAnswers();
    this.#turn += 1;
    for (const topic of topics) this.#turns.set(topic, this.#turn);
  }
}
