/** Sales that were asked for and wait for their minute: what was told a moment ago, or before the page was opened. */

import { onMount } from "svelte";

import { get } from "../api/client";
import { resource } from "../api/resource.svelte";
import type { CommandItem, CommandPage } from "../api/types";
import { app } from "../app.svelte";
import { onCommands } from "./following";
import { saleThatWaits } from "./waiting";

const NEWEST = 100;

export interface Sales {
  /** The sale of this symbol that waits; undefined where none does. */
  of: (symbol: string) => CommandItem | undefined;
}

/** Call it while a component is set up. Commands are fetched only while the status says that some wait, and again when
 * it says that others do. */
export function sales(): Sales {
  const waiting = $derived(app.isRun ? 0 : (app.status?.waiting_commands ?? 0));
  const told = resource(async () => (waiting === 0 ? null : await get<CommandPage>("commands", { limit: NEWEST })));
  onMount(() => onCommands(() => told.reload()));
  return { of: (symbol) => saleThatWaits(told.data?.items ?? [], symbol, app.status?.until_ms ?? null) };
}
