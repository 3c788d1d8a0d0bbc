/** Commands of which nobody knows whether they arrived, until that is known: kept in this tab, also over a reload. */

import { SvelteMap } from "svelte/reactivity";

import type { CommandWish, ConfigurationWish } from "../api/types";

const KEY = "doubtful-commands";

/** A command as it is sent, without its number. */
export type Told = {
  account: string;
  /** Who sends it; another one in this tab is not asked about it. */
  actor: string;
  /** What it is called for people. */
  words: string;
} & ({ path: "commands"; body: CommandWish } | { path: "config/apply"; body: ConfigurationWish });

export interface Doubt {
  told: Told;
  number: string;
  /** When it was sent first, by the clock of the server. */
  atMs: number;
  /** Whether it was sent before the page was loaded. */
  before: boolean;
}

/** The same words to the same account are the same command; what a configuration replaces is no part of it. */
export function keyOf(told: Told): string {
  return JSON.stringify([told.account, told.path, told.path === "commands" ? told.body : told.body.toml]);
}

export class Doubts {
  /** Whether there were any when the page was loaded. */
  readonly restored: boolean;
  #all = new SvelteMap<string, Doubt>();

  constructor() {
    for (const doubt of kept()) this.#all.set(keyOf(doubt.told), doubt);
    this.restored = this.#all.size > 0;
  }

  get(key: string): Doubt | undefined {
    return this.#all.get(key);
  }

  /** Those that somebody sent to an account before the page was loaded. */
  before(account: string | null, actor: string): Doubt[] {
    return [...this.#all.values()].filter(
      (doubt) => doubt.before && doubt.told.account === account && doubt.told.actor === actor,
    );
  }

  add(doubt: Doubt): void {
    this.#all.set(keyOf(doubt.told), doubt);
    this.#keep();
  }

  /** It is known now, or nobody wants to know any more. */
  settle(key: string): void {
    if (this.#all.delete(key)) this.#keep();
  }

  #keep(): void {
    const all = [...this.#all.values()].map(({ told, number, atMs }) => ({ told, number, atMs }));
    try {
      if (all.length === 0) sessionStorage.removeItem(KEY);
      else sessionStorage.setItem(KEY, JSON.stringify(all));
    } catch {
      // A browser that keeps nothing, or no more: the doubt lives as long as this page.
    }
  }
}

function kept(): Doubt[] {
  try {
    const all: unknown = JSON.parse(sessionStorage.getItem(KEY) ?? "[]");
    return Array.isArray(all) ? all.filter(isKept).map((doubt) => ({ ...doubt, before: true })) : [];
  } catch {
    return []; // nothing can be read there, or it is none of ours
  }
}

function isKept(value: unknown): value is Omit<Doubt, "before"> {
  if (!isRecord(value) || !isRecord(value.told) || !isRecord(value.told.body)) return false;
  const { account, actor, words, path, body } = value.told;
  const named = [account, actor, words].every((text) => typeof text === "string");
  const whole =
    path === "commands" ? typeof body.kind === "string" && isRecord(body.arguments) : typeof body.toml === "string";
  const known = path === "commands" || path === "config/apply";
  return named && known && whole && typeof value.atMs === "number" && /^[0-9a-f]{32}$/.test(String(value.number));
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

export const doubts = new Doubts();
