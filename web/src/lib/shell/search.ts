// What the search finds: pages, symbols and accounts, the nearest first.

import type { IconName } from "../components/shell";

export interface Found {
  id: string;
  kind: "page" | "symbol" | "account";
  title: string;
  about: string;
  icon: IconName;
  href: string;
}

/** How well a text answers what was typed: 0 exactly, larger the worse, undefined not at all. */
export function distance(text: string, typed: string): number | undefined {
  const name = text.toLowerCase();
  const wanted = typed.trim().toLowerCase();
  if (wanted === "") return 1;
  if (name === wanted) return 0;
  if (name.startsWith(wanted)) return 1;
  const at = name.indexOf(wanted);
  if (at > 0) return /[\s/_:-]/.test(name[at - 1] ?? "") ? 2 : 3;
  return undefined;
}

/** The entries that answer, best first; equals in the order that they came in. */
export function find(entries: readonly Found[], typed: string, most: number): Found[] {
  return entries
    .flatMap((entry, index) => {
      const plain = distance(entry.title.replace("/", ""), typed.replace("/", ""));
      const found = distance(entry.title, typed) ?? plain;
      return found === undefined ? [] : [{ entry, index, found }];
    })
    .sort((first, second) => first.found - second.found || first.index - second.index)
    .slice(0, most)
    .map(({ entry }) => entry);
}
