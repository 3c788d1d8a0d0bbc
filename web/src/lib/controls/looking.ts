/** Looking for commands that were given, until it is known which of them are there, or why nobody can say. */

import { Problem } from "../api/client";
import type { CommandItem } from "../api/types";
import { givenAmong } from "./given";

/** After a look that failed for a moment. */
const RETRY_MS = 5_000;

export interface Sought {
  number: string;
  /** When it was sent, by the clock of the server. */
  atMs: number;
}

export interface Outcome {
  /** Those that are there, by their numbers. */
  found: (items: ReadonlyMap<string, CommandItem>) => void;
  /** Asking once more would answer the same. */
  failed: (problem: Problem) => void;
}

/** Look for these commands of an account; what passes is waited for. Returns what ends that, and then nothing is told. */
export function lookFor(sought: readonly Sought[], account: string, { found, failed }: Outcome): () => void {
  let retry: ReturnType<typeof setTimeout> | undefined;
  let over = false;
  const look = async (): Promise<void> => {
    try {
      const items = await givenAmong(sought.map((each) => each.number), account, Math.min(...sought.map((each) => each.atMs)));
      if (!over) found(items);
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      if (over) return;
      if (error.passing) retry = setTimeout(() => void look(), RETRY_MS);
      else failed(error);
    }
  };
  void look();
  return () => {
    over = true;
    clearTimeout(retry);
  };
}
