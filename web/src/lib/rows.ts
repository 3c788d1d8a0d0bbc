/** Rows that are known by key. */

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
