/** What waits for its minute, among what was told. */

import type { CommandItem } from "../api/types";

/** The sale of a symbol that waits for the next minute; one for later leaves a sale of now possible. */
export function saleThatWaits(told: readonly CommandItem[], symbol: string, untilMs: number | null): CommandItem | undefined {
  return told.find(
    (each) =>
      each.status === "waiting" &&
      each.kind === "close" &&
      each.arguments.symbol === symbol &&
      (each.not_before_ms === null || (untilMs !== null && each.not_before_ms <= untilMs)),
  );
}
