// One clock for everything that ages on the page: it runs only while somebody reads it.
import { createSubscriber } from "svelte/reactivity";

import { live } from "./api/live.svelte";

const subscribe = createSubscriber((update) => {
  const timer = setInterval(update, 1_000);
  return () => clearInterval(timer);
});

/** The present in milliseconds, by the clock of the server; whoever reads it in an effect follows it by the second. */
export function now(): number {
  subscribe();
  return Date.now() + live.skew;
}
