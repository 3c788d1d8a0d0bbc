/** Giving one command, however often it takes to send it: as long as nobody knows whether it arrived, it is sent under
 * the same number, under which the server takes it once. */

import { Problem } from "../api/client";
import { live } from "../api/live.svelte";
import type { CommandItem } from "../api/types";
import { newIdentifier } from "./identifier";

interface Doubt {
  number: string;
  /** When it was sent first, by the clock of the server. */
  atMs: number;
}

/** Commands of which nobody knows whether they arrived, by what they say. */
const doubts = new Map<string, Doubt>();

export class Sending {
  problem = $state.raw<Problem | undefined>(undefined);
  busy = $state(false);
  /** Whether it may have arrived all the same. */
  unclear = $derived(this.problem !== undefined && isUnclear(this.problem));
  #what: string;

  /** `what` says everything about the command: the same words are the same command. */
  constructor(...what: unknown[]) {
    this.#what = JSON.stringify(what);
  }

  /** Since when nobody knows whether this command arrived, and its number; undefined where all is clear. */
  get doubt(): Readonly<Doubt> | undefined {
    return doubts.get(this.#what);
  }

  /** It is known now: the next one is another command. */
  settle(): void {
    doubts.delete(this.#what);
  }

  /** Send it; undefined where it did not go well, which `problem` tells, or where it is under way already. */
  async send(post: (number: string) => Promise<CommandItem>): Promise<CommandItem | undefined> {
    if (this.busy) return undefined;
    this.busy = true;
    const doubt = this.doubt ?? { number: newIdentifier(), atMs: Date.now() + live.skew };
    doubts.set(this.#what, doubt);
    try {
      const given = await post(doubt.number);
      this.problem = undefined;
      this.settle();
      return given;
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      this.problem = error;
      if (!isUnclear(error)) this.settle();
      return undefined;
    } finally {
      this.busy = false;
    }
  }
}

/** Nobody answered, or somebody who does not know: what was sent may have been taken. */
function isUnclear(problem: Problem): boolean {
  return problem.passing || problem.status >= 500;
}
