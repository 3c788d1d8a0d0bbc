/** Whether this person may command the account that is open, and why not. */

import { live } from "../api/live.svelte";
import { app } from "../app.svelte";

/** Why no command can be given now; null where one can. */
export function whyNoCommand(): string | null {
  return whyNotAllowed() ?? (live.state === "lost" ? "No connection: nothing can be sent until it is back." : null);
}

/** Why this person may give none, whether the server can be reached or not; null where they may. */
export function whyNotAllowed(): string | null {
  const account = app.account ?? app.status?.account ?? null;
  if (account === null) return "No account is open.";
  if (account.startsWith("run:")) return "A recorded run is over: it takes no commands.";
  if (!app.may("control")) return "You may read here, not command: that needs a token with the scope control.";
  const status = app.status;
  if (status !== undefined && status.end_ms !== null && status.until_ms >= status.end_ms) {
    return "This replay has come to its end: nobody answers commands any more.";
  }
  return null;
}
