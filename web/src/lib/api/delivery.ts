// Hands live events on in step with the screen, so that a burst costs one frame.
import { topicsOf, type AnyEvent, type EventOf, type Topic } from "./topics";

type Handler = (event: AnyEvent) => void;

const QUEUE_MAX = 1_000;
const LATE_MS = 1_000;

export class Delivery {
  #handlers = new Map<Topic, Set<Handler>>();
  #queue: AnyEvent[] = [];
  #frame = 0;
  #late = 0;

  /** `ours`: whether an event is of the account that is looked at. */
  constructor(readonly ours: (event: AnyEvent) => boolean) {}

  on<T extends Topic>(topic: T, handler: (event: EventOf<T>) => void): () => void {
    const handlers = this.#handlers.get(topic) ?? new Set<Handler>();
    this.#handlers.set(topic, handlers);
    const stored = handler as Handler;
    handlers.add(stored);
    return () => {
      handlers.delete(stored);
      if (handlers.size === 0 && this.#handlers.get(topic) === handlers) this.#handlers.delete(topic);
    };
  }

  /** Puts an event behind the others; false where there were too many, and all of them are dropped. */
  put(event: AnyEvent): boolean {
    if (!this.ours(event)) return true;
    if (this.#queue.length >= QUEUE_MAX) {
      this.#queue = [];
      return false;
    }
    this.#queue.push(event);
    if (this.#frame) return true;
    this.#frame = requestAnimationFrame(() => this.flush());
    this.#late = window.setTimeout(() => this.flush(), LATE_MS); // a page that is not seen has no frames
    return true;
  }

  /** Hands on what waits. */
  flush(): void {
    cancelAnimationFrame(this.#frame);
    clearTimeout(this.#late);
    this.#frame = 0;
    const events = this.#queue;
    this.#queue = [];
    for (const event of events) {
      if (!this.ours(event)) continue;
      for (const topic of topicsOf(event)) for (const handler of [...(this.#handlers.get(topic) ?? [])]) handler(event);
    }
  }

  clear(): void {
    this.#queue = [];
  }
}
