/** Following a command until the trader has answered it. */

import { get, Problem } from "../api/client";
import type { CommandItem, CommandPage } from "../api/types";
import { told } from "../format";
import { toast, toasts } from "../toast.svelte";

const LOOK_MS = 700;
const PATIENCE_MS = 15 * 60_000; // after which the audit list alone tells the answer

const listeners = new Set<() => void>();

/** Call `listener` whenever a command was given or answered; returns what ends that. */
export function onCommands(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** Tell that a command was given, and then, once, what the trader answered. */
export async function followed(words: string, given: CommandItem, account: string): Promise<void> {
  const sent = given.status === "waiting" ? `${words}: ${told(given.sentence)}` : null;
  if (sent !== null) toast("info", sent);
  const answer = await answered(given, account);
  for (const item of toasts.items) if (item.text === sent) toasts.remove(item.id);
  if (answer === undefined) toast("warn", `${words}: nobody has answered yet. The list of commands tells when.`);
  else if (answer.status === "applied") toast("up", `${words}: ${told(answer.sentence)}`);
  else toast("warn", `Refused – ${words}: ${told(answer.sentence)}`);
}

/** The command once the trader has answered it; undefined where it still waits after a quarter of an hour. */
export async function answered(given: CommandItem, account: string): Promise<CommandItem | undefined> {
  announce();
  if (given.status !== "waiting") return given;
  const until = Date.now() + PATIENCE_MS;
  let pause = LOOK_MS;
  while (Date.now() < until) {
    await new Promise((resolve) => setTimeout(resolve, pause));
    pause = Math.min(pause * 1.2, 5_000);
    const found = await look(given.command_id, account);
    if (found !== undefined && found.status !== "waiting") {
      announce();
      return found;
    }
  }
  return undefined;
}

async function look(commandId: string, account: string): Promise<CommandItem | undefined> {
  try {
    const page = await get<CommandPage>("commands", { account, limit: 50 });
    return page.items.find((each) => each.command_id === commandId);
  } catch (error) {
    if (error instanceof Problem) return undefined; // the banner tells it: the next look may find the answer
    throw error;
  }
}

function announce(): void {
  for (const listener of listeners) listener();
}
