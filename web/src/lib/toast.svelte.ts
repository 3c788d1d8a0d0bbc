// Short messages that go away by themselves; the last few only.

export type ToastTone = "up" | "down" | "warn" | "info";

export interface ToastItem {
  id: number;
  tone: ToastTone;
  text: string;
}

const SHOWN_MAX = 4;
const SHOWN_MS = 6_000;
const SHOWN_BAD_MS = 12_000;

class Toasts {
  items = $state.raw<ToastItem[]>([]);
  #next = 1;

  add(tone: ToastTone, text: string): void {
    const item = { id: this.#next++, tone, text };
    this.items = [...this.items, item].slice(-SHOWN_MAX);
    setTimeout(() => this.remove(item.id), tone === "down" || tone === "warn" ? SHOWN_BAD_MS : SHOWN_MS);
  }

  remove(id: number): void {
    this.items = this.items.filter((item) => item.id !== id);
  }
}

export const toasts = new Toasts();

/** Tell the person something in passing. */
export function toast(tone: ToastTone, text: string): void {
  toasts.add(tone, text);
}
