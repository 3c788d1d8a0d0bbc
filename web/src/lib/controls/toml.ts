/** As much of TOML as the page needs: to write values, and to see which of them a file names. Pure. */

import type { ConfigurationChange, ConfigurationValue } from "../api/types";

const BARE = /^[\w-]+$/;

/** A value as TOML has it, in one line. */
export function written(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map(written).join(", ")}]`;
  if (typeof value === "object" && value !== null)
    return `{${Object.entries(value)
      .map(([key, each]) => `${BARE.test(key) ? key : JSON.stringify(key)} = ${written(each)}`)
      .join(", ")}}`;
  return typeof value === "number" ? plain(value) : String(value);
}

/** A small number without its exponent: 0.0000001, where JavaScript writes 1e-7. */
function plain(value: number): string {
  const found = /^(-?)(\d)(?:\.(\d+))?e-(\d+)$/.exec(String(value));
  if (found === null) return String(value);
  const [, sign = "", whole = "", rest = "", exponent = "0"] = found;
  return `${sign}0.${"0".repeat(Number(exponent) - 1)}${whole}${rest}`;
}

/** The parts of a dotted key; what stands in quotes is one part. */
export function partsOf(key: string): string[] {
  return [...key.matchAll(/"([^"]*)"|'([^']*)'|([^.\s"']+)/g)].map((found) => found[1] ?? found[2] ?? found[3] ?? "");
}

/** What differs from its default, as a file that could be applied as it is. */
export function fileOf(values: readonly ConfigurationValue[]): string {
  const sections = new Map<string, string[]>();
  for (const { key, value, changed } of values) {
    if (!changed || value === null) continue;
    const parts = partsOf(key).map((part) => (BARE.test(part) ? part : JSON.stringify(part)));
    const section = parts.slice(0, -1).join(".");
    sections.set(section, [...(sections.get(section) ?? []), `${parts.at(-1) ?? ""} = ${written(value)}`]);
  }
  const plain = sections.get("") ?? [];
  sections.delete("");
  const tables = [...sections].map(([section, lines]) => [`[${section}]`, ...lines].join("\n"));
  return [...(plain.length > 0 ? [plain.join("\n")] : []), ...tables].map((part) => `${part}\n`).join("\n");
}

/** The keys that a file sets, each as its parts; a table within a line counts as its name. */
export function namedIn(toml: string): string[][] {
  const named: string[][] = [];
  let section: string[] = [];
  let depth = 0;
  for (const raw of toml.split("\n")) {
    const line = unquoted(raw);
    if (depth === 0) {
      const head = /^\s*\[\[?(.+?)\]\]?\s*$/.exec(line.bare);
      if (head !== null && !line.bare.includes("=")) {
        section = partsOf(line.whole.trim().replace(/^\[+|\]+$/g, ""));
        if (line.bare.trim().startsWith("[[")) named.push(section);
        continue;
      }
      const at = line.bare.indexOf("=");
      if (at > 0) named.push([...section, ...partsOf(line.whole.slice(0, at))]);
    }
    depth += count(line.bare, /[[{]/g) - count(line.bare, /[\]}]/g);
  }
  return named;
}

/** The changes of values that a file names, and those that only follow from what it leaves out. */
export function parted(
  changes: readonly ConfigurationChange[],
  toml: string,
): { named: ConfigurationChange[]; reset: ConfigurationChange[] } {
  const keys = namedIn(toml);
  const isNamed = (change: ConfigurationChange): boolean => {
    const parts = partsOf(change.key);
    return keys.some((key) => key.every((part, index) => index >= parts.length || part === parts[index]));
  };
  return { named: changes.filter(isNamed), reset: changes.filter((change) => !isNamed(change)) };
}

/** A line without its comment; `bare` has blanks where strings stand, so that places agree. */
function unquoted(line: string): { bare: string; whole: string } {
  const bare = line.replace(/"(?:[^"\\]|\\.)*"|'[^']*'/g, (text) => "_".repeat(text.length));
  const end = bare.indexOf("#");
  return end < 0 ? { bare, whole: line } : { bare: bare.slice(0, end), whole: line.slice(0, end) };
}

function count(text: string, pattern: RegExp): number {
  return text.match(pattern)?.length ?? 0;
}
