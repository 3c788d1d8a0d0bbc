// The colour of a fast regime, the same wherever one is named.
const TONES: Readonly<Record<string, "up" | "down" | "warn" | "info" | "muted">> = {
  NORMAL: "muted",
  CAUTION: "warn",
  PANIC: "down",
  EUPHORIA: "info",
};

export function regimeTone(regime: string | null | undefined): "up" | "down" | "warn" | "info" | "muted" {
  return TONES[regime ?? ""] ?? "muted";
}
