import { expect, test } from "vitest";

import { compare, keyed, pressed, sorted, visible, type Column } from "./table";

interface Row {
  name: string;
  pnl: number | null;
}
const columns: Column<Row>[] = [
  { id: "name", label: "Name", by: (row) => row.name },
  { id: "pnl", label: "P&L", by: (row) => row.pnl },
  { id: "plain", label: "Plain" },
];
const rows: Row[] = [
  { name: "B10", pnl: -5 },
  { name: "B9", pnl: null },
  { name: "a", pnl: 12 },
  { name: "C", pnl: -5 },
];
const names = (found: readonly Row[]): string[] => found.map((row) => row.name);

test("what is not known comes last in either direction", () => {
  expect(names(sorted(rows, columns, { id: "pnl", descending: true }))).toEqual(["a", "B10", "C", "B9"]);
  expect(names(sorted(rows, columns, { id: "pnl", descending: false }))).toEqual(["B10", "C", "a", "B9"]);
});

test("numbers within names are numbers", () => {
  expect(names(sorted(rows, columns, { id: "name", descending: false }))).toEqual(["a", "B9", "B10", "C"]);
});

test("a column that cannot be sorted leaves rows as they came", () => {
  expect(sorted(rows, columns, { id: "plain", descending: true })).toBe(rows);
  expect(sorted(rows, columns, undefined)).toBe(rows);
});

test("not a number counts as not known", () => {
  expect(compare(Number.NaN, 1, false)).toBe(1);
  expect(compare(1, Number.NaN, true)).toBe(-1);
});

test("only rows near the view are drawn", () => {
  expect(visible(100_000, 30, 30_000, 600, 10)).toEqual({ first: 990, end: 1030 });
  expect(visible(20, 30, 0, 600, 10)).toEqual({ first: 0, end: 20 });
  expect(visible(5, 30, 90_000, 600, 10)).toEqual({ first: 5, end: 5 });
});

test("a row that came twice is drawn twice", () => {
  const found = keyed([{ name: "a" }, { name: "b" }, { name: "a" }], (row) => row.name);
  expect(found.map((each) => each.id)).toEqual(["a", "b", "a"]);
  expect(new Set(found.map((each) => each.unique)).size).toBe(3);
});

test("keys lead from row to row", () => {
  const to = (key: string): number | undefined => pressed(key, 20, 10, 100);
  expect(["j", "ArrowDown", "k", "ArrowUp"].map(to)).toEqual([21, 21, 19, 19]);
  expect(["PageDown", "PageUp", "Home", "End"].map(to)).toEqual([30, 10, 0, 99]);
  expect(to("x")).toBeUndefined();
});
