/** Lists that grow from above while pages are added below: what came in meanwhile joins the answers by key. */

/** So many live rows a list holds; then the oldest are let go of, and fetched again by whoever scrolls there. */
export const LIVE_MAX = 2_000;

/** Rows of which none is among `known`, each of them once. */
export function unknown<T>(rows: readonly T[], known: readonly T[], key: (row: T) => string): T[] {
  const keys = new Set(known.map(key));
  return rows.filter((row) => {
    const id = key(row);
    if (keys.has(id)) return false;
    keys.add(id);
    return true;
  });
}

/** The rows of a page that stand behind the last of `rows`; null where the page does not reach so far. */
export function behind<T>(rows: readonly T[], page: readonly T[], key: (row: T) => string): T[] | null {
  const last = rows.at(-1);
  if (last === undefined) return [...page];
  const id = key(last);
  const at = page.findIndex((row) => key(row) === id);
  return at < 0 ? null : unknown(page.slice(at + 1), rows, key);
}
