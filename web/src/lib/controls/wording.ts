/** Commands in words, as buttons and lists name them. What a command does, the server says before it is given. */

import type { AuditItem } from "../api/types";

export type Arguments = Record<string, string | number>;

const SAID: Readonly<Record<string, (of: Readonly<Record<string, unknown>>) => string>> = {
  pause: () => "Pause entries",
  resume: () => "Resume entries",
  close: (of) => `Sell ${text(of.symbol)}`,
  close_worst: (of) => (Number(of.count) === 1 ? "Sell the worst position" : `Sell the ${text(of.count)} worst positions`),
  regime_force: (of) => `Force the regime ${text(of.regime).toUpperCase()}`,
  regime_release: () => "Leave the regime to the market",
  cooldown_clear: (of) => `Clear the cooldown of ${text(of.symbol)}`,
  streak_clear: (of) => `Clear the losing streak of ${text(of.strategy)}`,
  strategy_on: (of) => `Switch ${text(of.strategy)} on`,
  strategy_off: (of) => `Switch ${text(of.strategy)} off`,
  block: (of) => `Block ${text(of.symbol)}`,
  unblock: (of) => `Unblock ${text(of.symbol)}`,
  configure: (of) => `Apply the configuration ${text(of.version)}`,
  configuration_offered: (of) => `Offered the configuration ${text(of.version)}`,
};

/** A command, or an act of the audit, in a few words. */
export function said(kind: string, of: Readonly<Record<string, unknown>>): string {
  return SAID[kind]?.(of) ?? kind.replaceAll("_", " ");
}

/** An act of a person in words; the arguments of a command stand in its detail. */
export function saidOf(item: AuditItem): string {
  const { kind, arguments: nested } = item.detail;
  const of = isRecord(nested) ? nested : item.detail;
  return item.action === "withdraw" ? `Withdrew: ${said(text(kind), of)}` : said(item.action, of);
}

/** Who gave a command: where, and under which name. */
export function actorWords(actor: string): { name: string; through: string } {
  const [face = "", ...rest] = actor.split(":");
  const through = { web: "web", cli: "command line" }[face];
  return through === undefined || rest.length === 0 ? { name: actor, through: "" } : { name: rest.join(":"), through };
}

function text(value: unknown): string {
  return typeof value === "string" || typeof value === "number" ? String(value) : "?";
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
