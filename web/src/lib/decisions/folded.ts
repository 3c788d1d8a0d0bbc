/** Near misses that repeat, told once: one row for a run of them. Pure. */

import type { Decision } from "../api/types";

/** A decision, and how many like it came right before. */
export interface Run {
  readonly newest: Decision;
  /** All of it, newest first. */
  readonly members: readonly Decision[];
}

type Kind = Pick<Decision, "symbol" | "strategy" | "verdict" | "reason" | "time_ms">;

/** What is further apart than this is another run. */
const APART_MS = 60 * 60_000;

/**
 * Rows, newest first, with runs of the same near miss of a symbol under a strategy in one. Another decision of that
 * symbol and strategy ends a run; those of others may lie between. What `open` holds stays apart.
 */
export function folded(rows: readonly Decision[], open: (row: Decision) => boolean): Run[] {
  const runs: { newest: Decision; members: Decision[] }[] = [];
  const last = new Map<string, { newest: Decision; members: Decision[] }>();
  for (const row of rows) {
    const name = `${row.symbol} ${row.strategy}`;
    const run = last.get(name);
    const before = run?.members.at(-1);
    if (run !== undefined && before !== undefined && isSame(before, row) && !open(row)) {
      run.members.push(row);
      continue;
    }
    const made = { newest: row, members: [row] };
    runs.push(made);
    last.set(name, made);
  }
  return runs;
}

function isSame(later: Kind, earlier: Kind): boolean {
  return (
    later.verdict === "NEAR_MISS" &&
    earlier.verdict === "NEAR_MISS" &&
    later.reason === earlier.reason &&
    later.time_ms - earlier.time_ms <= APART_MS
  );
}
