/** Whether anything can still happen to what one looks at, and where it stands if not. */

import type { Status } from "./api/types";

export type Standing = "running" | "stopped" | "ended" | "recorded";

/** A replay that was stopped on its way has not ended: it can go on. */
export function standingOf(status: Pick<Status, "account" | "running" | "end_ms" | "until_ms">): Standing {
  if (status.account.startsWith("run:")) return "recorded";
  if (status.end_ms !== null && status.until_ms >= status.end_ms) return "ended";
  return status.running ? "running" : "stopped";
}
