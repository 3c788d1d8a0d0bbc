// Which account is looked at: the one that the address names, else the one that a person most likely means.
import { route } from "./router.svelte";

class Chosen {
  /** The account that stands first in the list of the server. */
  preset = $state<string | null>(null);
  readonly id: string | null = $derived(route.query["account"] ?? this.preset);
}

export const chosen = new Chosen();
