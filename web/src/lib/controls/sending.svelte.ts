/** Giving one command, however often it takes to send it: as long as nobody knows whether it arrived, it is sent under
 * the same number, under which the server takes it once. */

import { Problem } from "../api/client";
import { live } from "../api/live.svelte";
import type { CommandItem } from "../api/types";
import { doubts, keyOf, type Doubt, type Told } from "./doubts.svelte";
import { newIdentifier } from "./identifier";

export class Sending {
  problem = $state.raw<Problem | undefined>(undefined);
  busy = $state(false);
  /** Whether it may have arrived all the same. */
  unclear = $derived(this.problem !== undefined && isUnclear(this.problem));
  #key: string;

  constructor(readonly told: Told) {
    this.#key = keyOf(told);
  }

  /** Since when nobody knows whether this command arrived, and its number; undefined where all is clear. */
  get doubt(): Readonly<Doubt> | undefined {
    return doubts.get(this.#key);
  }

  /** It is known now: the next one is another command. */
  settle(): void {
    doubts.settle(this.#key);
  }

  /** Send it; undefined where it did not go well, which `problem` tells, or where it is under way already. */
  async send(post: (number: string) => Promise<CommandItem>): Promise<CommandItem | undefined> {
    if (this.busy) return undefined;
    this.busy = true;
    const doubt = this.doubt ?? {
      told: this.told,
      number: newIdentifier(),
      atMs: Date.now() + live.skew,
      before: false,
    };
    doubts.add(doubt);
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
export function isUnclear(problem: Problem): boolean {
  return problem.passing || problem.status >= 500;
}
