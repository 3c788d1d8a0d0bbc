// What a table shows: its columns, and how rows stand under each other.
import type { Snippet } from "svelte";

export type SortValue = string | number | null | undefined;

export interface Sort {
  id: string;
  descending: boolean;
}

export interface Column<T> {
  id: string;
  label: string;
  /** Plain words of a cell; from lib/format. */
  text?: (row: T) => string;
  /** Or how the cell is drawn. */
  cell?: Snippet<[T]>;
  /** Numbers stand at the right. */
  align?: "start" | "end";
  /** CSS width, such as "8rem", so that columns stay where they are while values change; they share what is left. */
  width?: string;
  /** On a phone it stands in the row that opens, not in the table. */
  secondary?: boolean;
  /** What the table sorts by itself, where nobody listens to `onsort`. */
  by?: (row: T) => SortValue;
  /** Whether `onsort` knows this column. */
  sortable?: boolean;
  /** Explained on hover of its title. */
  hint?: string;
  /** Whether the title is read but not seen. */
  hideLabel?: boolean;
}

/** A list that grows on top; a table tells it whether somebody reads further down. */
export interface Growing {
  reading: boolean;
  /** How many new rows wait, and whether that is only some of them. */
  readonly waiting: number;
  readonly atLeast: boolean;
  /** Counts up whenever it begins anew. */
  readonly turn: number;
  unfold(): void;
}

/** Numbers before words, what is not known last in either direction. */
export function compare(first: SortValue, second: SortValue, descending: boolean): number {
  const without = (value: SortValue): boolean => value === null || value === undefined || Number.isNaN(value);
  if (without(first) || without(second)) return Number(without(first)) - Number(without(second));
  const order =
    typeof first === "number" && typeof second === "number"
      ? first - second
      : String(first).localeCompare(String(second), "en", { numeric: true });
  return descending ? -order : order;
}

/** Rows in the order of a column; the order that they came in decides ties. */
export function sorted<T>(rows: readonly T[], columns: readonly Column<T>[], sort: Sort | undefined): readonly T[] {
  const by = sort && columns.find((column) => column.id === sort.id)?.by;
  if (!sort || !by) return rows;
  return [...rows].sort((first, second) => compare(by(first), by(second), sort.descending));
}

export interface Window {
  first: number;
  end: number;
}

/** Which of `total` rows can be seen, and a few more at either side. */
export function visible(total: number, rowHeight: number, top: number, height: number, spare: number): Window {
  const first = Math.max(0, Math.floor(top / rowHeight) - spare);
  return { first: Math.min(first, total), end: Math.min(total, Math.ceil((top + height) / rowHeight) + spare) };
}

/** Rows with their keys; one that came twice gets another key, as two of one key cannot be drawn. */
export function keyed<T>(rows: readonly T[], key: (row: T) => string): { row: T; id: string; unique: string }[] {
  const known = new Set<string>();
  return rows.map((row, offset) => {
    const id = key(row);
    const unique = known.has(id) ? `${id} again ${offset}` : id;
    known.add(id);
    return { row, id, unique };
  });
}

/** The row that a key leads to from another; undefined where it leads to none. `page` rows are seen at once. */
export function pressed(key: string, from: number, page: number, total: number): number | undefined {
  const to: Record<string, number> = {
    j: from + 1,
    ArrowDown: from + 1,
    k: from - 1,
    ArrowUp: from - 1,
    PageDown: from + page,
    PageUp: from - page,
    Home: 0,
    End: total - 1,
  };
  return to[key];
}
