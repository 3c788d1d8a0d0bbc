/** Figures of a year made of the days that there are: nothing before they say something. Pure. */

import type { Ratios } from "../../lib/api/types";
import { NOTHING, number, plural } from "../../lib/format";

/** As many as a row of days in the scorecard must have to count. */
export const DAYS_MIN = 30;

export interface Written {
  readonly value: string;
  /** Of how many days; or why there is no figure. */
  readonly sub: string;
}

/** One of them as it is shown: a dash with the days so far until there are enough. */
export function ofDays(name: "sharpe" | "sortino" | "calmar", ratios: Ratios | undefined): Written {
  if (ratios === undefined) return { value: NOTHING, sub: "" };
  if (ratios.note) return { value: NOTHING, sub: "days not recorded" };
  if (ratios.days < DAYS_MIN) return { value: NOTHING, sub: `${ratios.days} of ${DAYS_MIN} days` };
  return { value: number(ratios[name]), sub: `of ${plural(ratios.days, "day")}` };
}
