// The health of the whole in words, and parts under the headings that people look for.
import type { Health, Part } from "../../lib/api/types";
import { plural } from "../../lib/format";

export interface PartGroup {
  title: string;
  parts: Part[];
}

const GROUPS: readonly (readonly [string, RegExp])[] = [
  ["Trading", /^(trader|parity|configuration)\b/],
  ["Market data", /^(collector|bars)\b/],
  ["This machine", /.*/],
];

/** Parts by what they belong to; within a group the worst stay first, groups without parts are left out. */
export function grouped(parts: readonly Part[]): PartGroup[] {
  const left = [...parts];
  return GROUPS.map(([title, pattern]) => {
    const mine = left.filter((part) => pattern.test(part.name));
    for (const part of mine) left.splice(left.indexOf(part), 1);
    return { title, parts: mine };
  }).filter((group) => group.parts.length > 0);
}

/** The whole in one sentence. */
export function summary(health: Health): string {
  const failing = health.parts.filter((part) => part.state === "failing").length;
  const degraded = health.parts.filter((part) => part.state === "degraded").length;
  if (failing > 0)
    return `${plural(failing, "part")} ${failing === 1 ? "fails" : "fail"}${degraded > 0 ? `, ${degraded} more ${degraded === 1 ? "needs" : "need"} a look` : ""}`;
  if (degraded > 0) return `${plural(degraded, "part")} ${degraded === 1 ? "needs" : "need"} a look`;
  return health.state === "off" ? "Nothing runs" : "All that is meant to run is well";
}
