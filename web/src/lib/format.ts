// Numbers, durations and times as people read them. What is not known is an en dash; minus is the minus sign, as
// wide as the plus, so that columns of signed figures stand under each other.

export const NOTHING = "–";
const MINUS = "−";

type Maybe = number | null | undefined;

interface Signs {
  /** Whether a gain carries its plus sign too. */
  signed?: boolean;
}

const formats = new Map<string, Intl.NumberFormat>();

/** A number with exactly, or at least and at most, so many decimals; formats are made once. */
function fixed(value: number, least: number, most: number = least): string {
  const key = `${least}:${most}`;
  let format = formats.get(key);
  if (!format) {
    format = new Intl.NumberFormat("en-US", { minimumFractionDigits: least, maximumFractionDigits: most });
    formats.set(key, format);
  }
  return format.format(value);
}

function known(value: Maybe): value is number {
  return typeof value === "number" && Number.isFinite(value);
}

/** Adds the sign to the words of an absolute value; what rounds to zero has none. */
function withSign(value: number, words: string, signed: boolean): string {
  if (!/[1-9]/.test(words)) return words;
  if (value < 0) return MINUS + words;
  return signed ? `+${words}` : words;
}

/** An amount in the quote currency: `1,204.50`, `+12.00`, with `unit` also `1,204.50 USDT`. */
export function money(value: Maybe, options: Signs & { digits?: number; unit?: string } = {}): string {
  if (!known(value)) return NOTHING;
  const words = withSign(value, fixed(Math.abs(value), options.digits ?? 2), options.signed ?? false);
  return options.unit ? `${words} ${options.unit}` : words;
}

/** A price with five or more significant digits, and as many decimals as that takes: `118,995.50`, `0.00001234`. */
export function price(value: Maybe): string {
  if (!known(value)) return NOTHING;
  const size = Math.abs(value);
  if (size === 0) return "0.00";
  const decimals = decimalsOf(size);
  return withSign(value, fixed(size, Math.min(decimals, leastDecimals(size)), decimals), false);
}

/** Decimals that a price of this size is shown with; axes of charts use it too. */
export function decimalsOf(size: number): number {
  if (!(size > 0)) return 2;
  return Math.min(12, Math.max(2, 4 - Math.floor(Math.log10(size))));
}

/** From one unit on, decimals are fixed, so that columns align; below, zeros at the end go. */
function leastDecimals(size: number): number {
  return size >= 1 ? decimalsOf(size) : Math.min(12, Math.max(2, 3 - Math.floor(Math.log10(size))));
}

/** A fraction as percent: 0.025 is `2.50 %`. */
export function percent(fraction: Maybe, options: Signs & { digits?: number } = {}): string {
  if (!known(fraction)) return NOTHING;
  return `${withSign(fraction, fixed(Math.abs(fraction) * 100, options.digits ?? 2), options.signed ?? false)} %`;
}

/** Units of a coin: six significant digits at most, no zeros at the end. */
export function quantity(value: Maybe): string {
  if (!known(value)) return NOTHING;
  const size = Math.abs(value);
  const decimals = size === 0 ? 0 : Math.min(12, Math.max(0, 5 - Math.floor(Math.log10(size))));
  return withSign(value, fixed(size, 0, decimals), false);
}

const STEPS: readonly (readonly [number, string])[] = [
  [1e12, "T"],
  [1e9, "B"],
  [1e6, "M"],
  [1e3, "k"],
];

/** A large number in few characters: `1.25M`. */
export function compact(value: Maybe, options: Signs = {}): string {
  if (!known(value)) return NOTHING;
  const size = Math.abs(value);
  // 999,995 would be 1,000.00k: the next step begins where three digits no longer hold it.
  const [scale, suffix] = STEPS.find(([step]) => size >= step * 0.999_995) ?? [1, ""];
  const scaled = size / scale;
  const decimals = scaled >= 99.95 || (scale === 1 && Number.isInteger(size)) ? 0 : scaled >= 9.995 ? 1 : 2;
  return withSign(value, fixed(scaled, 0, decimals) + suffix, options.signed ?? false);
}

/** How many: `1,204`. */
export function count(value: Maybe, options: Signs = {}): string {
  if (!known(value)) return NOTHING;
  return withSign(value, fixed(Math.abs(value), 0), options.signed ?? false);
}

/** A plain number: a ratio, a score. */
export function number(value: Maybe, options: Signs & { digits?: number } = {}): string {
  if (!known(value)) return NOTHING;
  return withSign(value, fixed(Math.abs(value), options.digits ?? 2), options.signed ?? false);
}

/** Bytes: `1.5 GB`. */
export function bytes(value: Maybe): string {
  if (!known(value)) return NOTHING;
  const units = ["B", "kB", "MB", "GB", "TB"];
  let scaled = Math.abs(value);
  let unit = 0;
  while (scaled >= 999.5 && unit < units.length - 1) {
    scaled /= 1000;
    unit += 1;
  }
  return `${fixed(scaled, 0, unit === 0 || scaled >= 99.95 ? 0 : 1)} ${units[unit]}`;
}

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** How long, in its two largest units: `3 d 4 h`, `2 h 05 min`, `45 min`, `12 s`. */
export function duration(ms: Maybe): string {
  if (!known(ms)) return NOTHING;
  const sign = ms <= -SECOND ? MINUS : "";
  const size = Math.abs(ms);
  if (size < SECOND) return size === 0 ? "0 s" : "< 1 s";
  if (size < MINUTE) return `${sign}${Math.floor(size / SECOND)} s`;
  if (size < HOUR) return `${sign}${Math.floor(size / MINUTE)} min`;
  if (size < DAY) {
    const minutes = Math.floor((size % HOUR) / MINUTE);
    return `${sign}${Math.floor(size / HOUR)} h${minutes ? ` ${String(minutes).padStart(2, "0")} min` : ""}`;
  }
  const hours = Math.floor((size % DAY) / HOUR);
  return `${sign}${fixed(Math.floor(size / DAY), 0)} d${hours ? ` ${hours} h` : ""}`;
}

/** How long in one unit, for narrow places: `3 d`, `2 h`, `45 min`. */
export function shortly(ms: Maybe): string {
  if (!known(ms)) return NOTHING;
  const sign = ms <= -SECOND ? MINUS : "";
  const size = Math.abs(ms);
  if (size < MINUTE) return `${sign}${Math.floor(size / SECOND)} s`;
  if (size < HOUR) return `${sign}${Math.floor(size / MINUTE)} min`;
  if (size < 2 * DAY) return `${sign}${Math.floor(size / HOUR)} h`;
  return `${sign}${fixed(Math.floor(size / DAY), 0)} d`;
}

/** How long ago, seen from `now`: `12 s ago`, `in 5 min`, and a date beyond a month. */
export function ago(ms: Maybe, now: number = Date.now()): string {
  if (!known(ms)) return NOTHING;
  const since = now - ms;
  const size = Math.abs(since);
  if (size < 5 * SECOND) return "now";
  if (size >= 31 * DAY) return dateLocal(ms);
  return since > 0 ? `${shortly(size)} ago` : `in ${shortly(size)}`;
}

const two = (value: number): string => String(value).padStart(2, "0");

/** `2025-08-22`, in the zone of the viewer. */
export function dateLocal(ms: Maybe): string {
  if (!known(ms)) return NOTHING;
  const at = new Date(ms);
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
}

/** `2025-08-22` of UTC: a date without a clock, such as the span of a backtest, is the same for everybody. */
export function dateUtc(ms: Maybe): string {
  return known(ms) ? new Date(ms).toISOString().slice(0, 10) : NOTHING;
}

/** `14:03`, in the zone of the viewer. */
export function timeLocal(ms: Maybe, options: { seconds?: boolean } = {}): string {
  if (!known(ms)) return NOTHING;
  const at = new Date(ms);
  return `${two(at.getHours())}:${two(at.getMinutes())}${options.seconds ? `:${two(at.getSeconds())}` : ""}`;
}

/** `2025-08-22 14:03`, in the zone of the viewer. */
export function whenLocal(ms: Maybe): string {
  return known(ms) ? `${dateLocal(ms)} ${timeLocal(ms)}` : NOTHING;
}

/** `08-22 14:03`, in the zone of the viewer: for narrow columns where the year is plain. */
export function whenShort(ms: Maybe): string {
  return known(ms) ? `${dateLocal(ms).slice(5)} ${timeLocal(ms)}` : NOTHING;
}

/** `14:03` within twelve hours of `present`, else `08-22 14:03`: in the zone of the viewer. */
export function whenNear(ms: Maybe, present: number): string {
  return known(ms) && Math.abs(present - ms) < 12 * HOUR ? timeLocal(ms) : whenShort(ms);
}

/** `2025-08-22 12:03 UTC`; with `seconds` also those. */
export function whenUtc(ms: Maybe, options: { seconds?: boolean } = {}): string {
  if (!known(ms)) return NOTHING;
  const text = new Date(ms).toISOString();
  return `${text.slice(0, 10)} ${text.slice(11, options.seconds ? 19 : 16)} UTC`;
}

/** `ETH` of `ETH/USDT`. */
export function coin(symbol: string): string {
  return symbol.split("/", 1)[0] ?? symbol;
}

/** `take profit` of `take_profit`: codes without words of their own. */
export function words(code: string | null | undefined): string {
  return code ? code.replaceAll("_", " ").toLowerCase() : NOTHING;
}

/** Sentences of the server write every moment so, and two of them as a span with one UTC behind both. */
const MOMENTS = /(\d{4}-\d\d-\d\d \d\d:\d\d)(?: to (\d{4}-\d\d-\d\d \d\d:\d\d))? UTC/g;

/** A sentence of the server in pieces: words with the signs that figures have here, and the moments between them. */
export function pieces(text: string): (string | number)[] {
  const found: (string | number)[] = [];
  let from = 0;
  for (const match of text.matchAll(MOMENTS)) {
    const [whole, first, second] = match;
    found.push(signs(text.slice(from, match.index)), moment(first));
    if (second !== undefined) found.push(" to ", moment(second));
    from = match.index + whole.length;
  }
  found.push(signs(text.slice(from)));
  return found.filter((piece) => piece !== "");
}

/** A sentence of the server as one text, its moments in the zone of the viewer. */
export function told(text: string): string {
  return pieces(text)
    .map((piece) => (typeof piece === "number" ? whenLocal(piece) : piece))
    .join("");
}

function moment(written: string | undefined): number {
  return Date.parse(`${written?.replace(" ", "T") ?? ""}Z`);
}

/** The minus and times signs of figures, where the server has those of a typewriter. */
function signs(text: string): string {
  return text.replaceAll(/(^|[\s(])-(?=\d)/g, `$1${MINUS}`).replaceAll(/(\d) ?x(?![\w])/g, "$1 ×");
}

/** `1 trade`, `2 trades`. */
export function plural(value: number, one: string, many: string = `${one}s`): string {
  return `${count(value)} ${value === 1 ? one : many}`;
}

/** Which way a figure points, for colours. */
export function tone(value: Maybe): "up" | "down" | "flat" {
  if (!known(value) || value === 0) return "flat";
  return value > 0 ? "up" : "down";
}
