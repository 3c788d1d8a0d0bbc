/** Indicators in words. Pure. */

import type { DrawnStudy } from "./types";

/** What an indicator is and has at a bar: `Bollinger 20, 2 upper 4,301.20, middle 4,280.00, lower 4,258.80`. */
export function toldAt(study: DrawnStudy, bar: number): string {
  const values = study.curves.map(({ words, values }) => `${words === "" ? "" : `${words} `}${study.format(values[bar] ?? null)}`);
  return `${study.words} ${values.join(", ")}`;
}
