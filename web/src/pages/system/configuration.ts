// The configuration as a tree that can be searched: sections with their values, changed ones first.
import type { ConfigurationValue } from "../../lib/api/types";
import { written } from "../../lib/controls/toml";

export interface Section {
  name: string;
  values: ConfigurationValue[];
  changed: number;
}

/** The section of a key: all but its last word, at most two words, and no names in quotes, of which there are many. */
function sectionOf(key: string): string {
  const words = key.split(".").slice(0, -1).slice(0, 2);
  return (words[1]?.startsWith('"') ? words.slice(0, 1) : words).join(".") || "other";
}

/** The rest of a key within its section. */
export function within(key: string): string {
  const section = sectionOf(key);
  return key.startsWith(`${section}.`) ? key.slice(section.length + 1) : key;
}

/** Sections with what matches; sections with changed values first, and in each the changed values. */
export function sections(values: readonly ConfigurationValue[], words: string, changedOnly: boolean): Section[] {
  const wanted = words.trim().toLowerCase().split(/\s+/).filter(Boolean);
  const found = new Map<string, ConfigurationValue[]>();
  for (const value of values) {
    if (changedOnly && !value.changed) continue;
    const text = `${value.key} ${written(value.value)}`.toLowerCase();
    if (!wanted.every((word) => text.includes(word))) continue;
    const name = sectionOf(value.key);
    found.set(name, [...(found.get(name) ?? []), value]);
  }
  return [...found]
    .map(([name, mine]) => ({
      name,
      values: [...mine].sort((first, second) => Number(second.changed) - Number(first.changed)),
      changed: mine.filter((value) => value.changed).length,
    }))
    .sort((first, second) => Number(second.changed > 0) - Number(first.changed > 0) || first.name.localeCompare(second.name));
}
