// Keys that work everywhere. Nothing is taken from a field that is being typed into, nor from the browser.
import { go } from "./router.svelte";

export interface Shortcut {
  keys: string;
  does: string;
}

export const SHORTCUTS: readonly Shortcut[] = [
  { keys: "/", does: "Search symbols, pages and accounts" },
  { keys: "g t", does: "Trading" },
  { keys: "g s", does: "Strategies" },
  { keys: "g m", does: "Market" },
  { keys: "g r", does: "Research" },
  { keys: "g y", does: "System" },
  { keys: "j  k", does: "Next or previous row of a table" },
  { keys: "Enter", does: "Open the row" },
  { keys: "n  p", does: "Next or previous symbol, on the page of one" },
  { keys: "?", does: "This help" },
  { keys: "Esc", does: "Close what is open" },
];

const GO: Readonly<Record<string, string>> = {
  t: "/trading",
  s: "/strategies",
  m: "/market",
  r: "/research",
  y: "/system",
};
const SECOND_KEY_MS = 1_200;

/** Whether a key belongs to a field. */
export function typing(target: EventTarget | null): boolean {
  if (!(target instanceof HTMLElement)) return false;
  return target.isContentEditable || target.matches("input:not([type=checkbox], [type=radio]), textarea, select");
}

/** Listens for the keys of the shell; returns how to stop. */
export function listenKeys(open: { search: () => void; help: () => void }): () => void {
  let first = 0;
  const press = (event: KeyboardEvent): void => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (typing(event.target) || document.querySelector("dialog[open]")) return;
    const path = GO[event.key];
    if (first && event.timeStamp - first < SECOND_KEY_MS && path) {
      event.preventDefault();
      go(path);
    } else if (event.key === "/") {
      event.preventDefault();
      open.search();
    } else if (event.key === "?") {
      event.preventDefault();
      open.help();
    }
    first = event.key === "g" ? event.timeStamp : 0;
  };
  document.addEventListener("keydown", press);
  return () => document.removeEventListener("keydown", press);
}
