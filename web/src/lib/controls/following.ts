/** Following commands until the trader has answered them: the log of the stream tells when to look. */

import { chosen } from "../account.svelte";
import { Problem } from "../api/client";
import { live } from "../api/live.svelte";
import type { CommandItem } from "../api/types";
import { told } from "../format";
import { session } from "../session.svelte";
import { toast, toasts } from "../toast.svelte";
import { givenAmong } from "./given";

/** The answer may have come before anybody listened for it. */
const FIRST_LOOK_MS = 700;
/** After a look that failed. */
const RETRY_MS = 5_000;

interface Followed {
  words: string;
  /** What was said when it was given. */
  said: string;
  account: string;
  token: string | null;
  createdMs: number;
}

const waiting = new Map<string, Followed>();
const listeners = new Set<() => void>();
let end: (() => void) | undefined;
let timer = 0;
let looking = false;
let again = false;

/** Call `listener` whenever a command was given or answered; returns what ends that. */
export function onCommands(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** Tell that a command was given, and then, once, what the trader answered. */
export function follow(words: string, given: CommandItem, account: string): void {
  announce();
  if (given.status !== "waiting") {
    tell(words, given);
    return;
  }
  const said = `${words}: ${told(given.sentence)}`;
  toast("info", said);
  waiting.set(given.command_id, { words, said, account, token: session.token, createdMs: given.created_at_ms });
  listen();
  lookAgain(FIRST_LOOK_MS);
}

/** Tell that a command was taken back here. */
export function withdrew(words: string, item: CommandItem): void {
  const followed = waiting.get(item.command_id);
  if (followed !== undefined) forget(item.command_id, followed);
  toast("info", `Withdrawn: ${words}`);
  announce();
}

/** Follow it no more, and take back what was said of it. */
function forget(number: string, followed: Followed): void {
  waiting.delete(number);
  for (const shown of toasts.items) if (shown.text === followed.said) toasts.remove(shown.id);
}

function tell(words: string, answer: CommandItem): void {
  if (answer.status === "withdrawn") toast("info", `Withdrawn – ${words}: ${told(answer.sentence)}`);
  else if (answer.status === "applied") toast("up", `${words}: ${told(answer.sentence)}`);
  else toast("warn", `Refused – ${words}: ${told(answer.sentence)}`);
}

/** The stream tells the log at once where it is asked for it, or again, and whenever a command was answered. */
function listen(): void {
  if (end !== undefined) return;
  const release = live.want(["log"]);
  const off = live.on("log", () => void look());
  end = () => {
    release();
    off();
    end = undefined;
    clearTimeout(timer);
  };
}

function lookAgain(ms: number): void {
  clearTimeout(timer);
  timer = window.setTimeout(() => void look(), ms);
}

/** Look once for the answers of all commands of the account that is looked at; those of another one wait for it. */
async function look(): Promise<void> {
  if (looking) {
    again = true;
    return;
  }
  looking = true;
  try {
    do {
      again = false;
      await lookOnce();
    } while (again);
  } finally {
    looking = false;
  }
  if (waiting.size === 0) end?.();
}

async function lookOnce(): Promise<void> {
  for (const [number, each] of waiting) if (session.refused || each.token !== session.token) waiting.delete(number);
  const account = chosen.id;
  const own = [...waiting].filter(([, each]) => each.account === account);
  if (account === null || own.length === 0) return;
  let found: ReadonlyMap<string, CommandItem>;
  try {
    found = await givenAmong(own.map(([number]) => number), account, Math.min(...own.map(([, each]) => each.createdMs)));
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    if (error.passing) lookAgain(RETRY_MS); // the banner tells it
    return;
  }
  let answered = false;
  for (const [number, each] of own) {
    const item = found.get(number);
    if (item?.status === "waiting") continue;
    forget(number, each);
    answered = true;
    if (item === undefined) toast("warn", `${each.words}: it stands no longer among the commands of ${account}.`);
    else tell(each.words, item);
  }
  if (answered) announce();
}

/** What people told is another thing than a moment ago: whoever shows it looks again. */
export function announce(): void {
  for (const listener of listeners) listener();
}
