// Something that is fetched, and fetched again: when what it reads changes, when a live event says so, from time to
// time, and after a lost connection. Old data stay while new ones come; data of another account never do.
import { untrack } from "svelte";

import { chosen } from "../account.svelte";
import { Problem } from "./client";
import { live, type Topic } from "./live.svelte";

export interface ResourceOptions {
  /** Live topics that say: fetch again. */
  topics?: readonly Topic[];
  /** Live topics that bring the data themselves, by `set`: fetched only where the stream was not faster. */
  told?: readonly Topic[];
  /** How long a live event at least waits after the fetch before, in milliseconds: 2,000 or more. */
  throttle?: number;
  /** Fetch again every so many milliseconds, while the page is seen. */
  every?: number;
}

export interface Resource<T> {
  readonly data: T | undefined;
  readonly problem: Problem | undefined;
  readonly loading: boolean;
  /** Whether the data may be out of date: the last fetch failed, or what they live from is not told of. */
  readonly stale: boolean;
  /** When the data came, by this clock. */
  readonly fetchedAt: number | undefined;
  reload(): void;
  /** Replace the data by what a live event brought. */
  set(data: T): void;
}

const THROTTLE_MS = 2_000;
const RETRY_MS = 5_000;
/** What a live event brought so shortly before need not be fetched. */
const JUST_NOW_MS = 250;

class Fetched<T> implements Resource<T> {
  data = $state.raw<T | undefined>(undefined);
  problem = $state.raw<Problem | undefined>(undefined);
  loading = $state(true);
  fetchedAt = $state<number | undefined>(undefined);
  readonly stale = $derived.by(
    () => this.data !== undefined && (this.problem !== undefined || live.staleOf(this.topics)),
  );
  #turn = $state(0);
  #number = 0;
  #account: string | null = null;
  #told = -Infinity; // when a live event brought the data
  #asked = 0; // the reloads that were fetched

  /** `topics`: what it lives from. */
  constructor(readonly topics: readonly Topic[]) {}

  reload(): void {
    this.#turn += 1;
  }

  set(data: T): void {
    this.#account = untrack(() => chosen.id);
    this.#told = performance.now();
    this.#take(data);
  }

  #take(data: T): void {
    this.#number += 1;
    this.data = data;
    this.problem = undefined;
    this.loading = false;
    this.fetchedAt = Date.now();
  }

  /** One fetch; inside an effect, so that what `load` reads before its first await causes the next one. */
  fetch(load: () => Promise<T>): (() => void) | undefined {
    const turn = this.#turn;
    const account = chosen.id;
    const asked = turn !== this.#asked;
    this.#asked = turn;
    if (!asked && this.#account === account && performance.now() - this.#told < JUST_NOW_MS) return undefined;
    const number = ++this.#number;
    let retry = 0;
    const promise = load();
    untrack(() => {
      if (this.#account !== account) this.data = undefined;
      this.#account = account;
      this.loading = true;
    });
    promise.then(
      (data) => {
        if (number === this.#number) this.#take(data);
      },
      (error: unknown) => {
        if (number !== this.#number) return;
        this.loading = false;
        this.problem = error instanceof Problem ? error : new Problem(-1, "The page failed", String(error));
        if (this.problem.passing) retry = window.setTimeout(() => this.reload(), RETRY_MS);
      },
    );
    return () => clearTimeout(retry);
  }
}

/** Call it while a component is set up; `load` is a call of `get`. */
export function resource<T>(load: () => Promise<T>, options: ResourceOptions = {}): Resource<T> {
  const { topics = [], told = [], throttle = THROTTLE_MS, every } = options;
  const heard = [...topics, ...told];
  const fetched = new Fetched<T>(heard);
  const pace = paced(() => fetched.reload(), Math.max(THROTTLE_MS, throttle));
  let begun = false;
  $effect(() => {
    // What the stream tells from the moment of the fetch on is newer than what is fetched.
    if (live.turnOf(heard) === null) return undefined;
    begun = true;
    pace.done();
    return fetched.fetch(load);
  });
  $effect(() => {
    const ask = (): void => {
      if (begun) pace.ask();
    };
    return heeding(pace, { topics, wanted: heard, every, ask });
  });
  return fetched;
}

export interface Pace {
  ask: () => void;
  /** It was done without being asked for. */
  done: () => void;
  seen: () => void;
  cancel: () => void;
}

/** Asks whenever a topic tells something, every so many milliseconds, and when the page is seen again, until what it
 * returns is called. `wanted` are all topics that the stream is to tell, `ask` is what is done instead of asking. */
export function heeding(
  pace: Pace,
  { topics, every, wanted = topics, ask = pace.ask }: {
    topics: readonly Topic[];
    every?: number | undefined;
    wanted?: readonly Topic[];
    ask?: () => void;
  },
): () => void {
  const release = live.want(wanted);
  const offs = topics.map((topic) => live.on(topic, ask));
  const timer = every === undefined ? 0 : window.setInterval(ask, every);
  document.addEventListener("visibilitychange", pace.seen);
  return () => {
    release();
    for (const off of offs) off();
    clearInterval(timer);
    document.removeEventListener("visibilitychange", pace.seen);
    pace.cancel();
  };
}

/** Does something at once, then at most every `ms`, and while the page is hidden only when it is seen again. */
export function paced(act: () => void, ms: number): Pace {
  let last = -Infinity;
  let timer = 0;
  let owed = false;
  const run = (): void => {
    timer = 0;
    if (document.hidden) {
      owed = true;
      return;
    }
    owed = false;
    last = performance.now();
    act();
  };
  const ask = (): void => {
    if (timer) return;
    const wait = last + ms - performance.now();
    if (wait <= 0) run();
    else timer = window.setTimeout(run, wait);
  };
  const seen = (): void => {
    if (owed && !document.hidden) ask();
  };
  const cancel = (): void => {
    clearTimeout(timer);
    timer = 0;
  };
  const done = (): void => {
    cancel();
    owed = false;
    last = performance.now();
  };
  return { ask, done, seen, cancel };
}
