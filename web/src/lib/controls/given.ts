/** Commands that were given, looked up by their numbers. */

import { get } from "../api/client";
import type { CommandItem, CommandPage } from "../api/types";

const PAGE = 50;
/** A command may be noted so long before it is asked for, by a clock that is not quite the same. */
const CLOCKS_MS = 60_000;

/** Those of these commands that the account knows, none of which was given before `sinceMs`: as many pages are read
 * as that takes. */
export async function givenAmong(
  numbers: Iterable<string>,
  account: string,
  sinceMs: number,
): Promise<ReadonlyMap<string, CommandItem>> {
  const missing = new Set(numbers);
  const found = new Map<string, CommandItem>();
  let cursor: string | null = null;
  do {
    const page: CommandPage = await get<CommandPage>("commands", { account, limit: PAGE, cursor });
    for (const item of page.items) if (missing.delete(item.command_id)) found.set(item.command_id, item);
    const oldest = page.items.at(-1)?.created_at_ms ?? -Infinity;
    cursor = oldest < sinceMs - CLOCKS_MS ? null : page.next;
  } while (missing.size > 0 && cursor !== null);
  return found;
}
