// How long something lasts yet, in the present of the account: its clock is the market's, not the wall's.
import { app } from "../../lib/app.svelte";
import { now } from "../../lib/now.svelte";

/** The account's present: the clock while it trades on real time, else the minute that it stands at. */
export function present(): number {
  const status = app.status;
  return status === undefined || (status.running && status.end_ms === null) ? now() : status.until_ms;
}

/** `3 h 05 min left` by the second; what is over says so. */
export function leftOf(until: number, words: (ms: number) => string): string {
  const left = until - present();
  return left <= 0 ? "ends with the next minute" : `${words(left)} left`;
}
