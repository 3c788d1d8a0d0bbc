/** Loads the charts when the first one is wanted: a page is there before they are. */

export async function loadLines(): Promise<typeof import("./lines")> {
  return import("./lines");
}

export async function loadCandles(): Promise<typeof import("./candles")> {
  return import("./candles");
}
