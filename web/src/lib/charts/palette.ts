/** The colours of the page as a canvas can use them: read from its CSS variables, so charts follow the theme. */

export type Tone = "accent" | "up" | "down" | "warn" | "info" | "muted" | "text";

export interface Palette {
  readonly surface: string;
  readonly raised: string;
  readonly line: string;
  readonly text: string;
  readonly quiet: string;
  readonly faint: string;
  readonly font: string;
  /** Of words on charts, in pixels: it grows with the page. */
  readonly size: number;
  readonly tones: Readonly<Record<Tone, string>>;
  /** Colours of series that mean neither gain nor loss. */
  readonly series: readonly string[];
}

const TONES: Readonly<Record<Tone, string>> = {
  accent: "--accent",
  up: "--up",
  down: "--down",
  warn: "--warn",
  info: "--info",
  muted: "--text-3",
  text: "--text",
};

const SERIES = ["--series-1", "--series-2", "--series-3", "--series-4", "--series-5", "--series-6"];

/** The palette of the place in the page where `host` stands. */
export function readPalette(host: HTMLElement): Palette {
  const probe = document.createElement("span");
  probe.hidden = true;
  host.append(probe);
  const pixel = document.createElement("canvas");
  pixel.width = pixel.height = 1;
  const context = pixel.getContext("2d", { willReadFrequently: true });
  const colour = (variable: string): string => {
    probe.style.color = `var(${variable})`;
    const computed = getComputedStyle(probe).color;
    return context === null ? computed : asRgb(context, computed);
  };
  const palette: Palette = {
    surface: colour("--surface-1"),
    raised: colour("--surface-3"),
    line: colour("--line"),
    text: colour("--text"),
    quiet: colour("--text-2"),
    faint: colour("--text-3"),
    font: getComputedStyle(host).fontFamily,
    size: Math.round(Number.parseFloat(getComputedStyle(document.documentElement).fontSize) * 0.786) || 11,
    tones: Object.fromEntries(
      Object.entries(TONES).map(([tone, variable]) => [tone, colour(variable)]),
    ) as Record<Tone, string>,
    series: SERIES.map(colour),
  };
  probe.remove();
  return palette;
}

/** Any colour that CSS knows as `rgba(r, g, b, a)`: canvases of the library read nothing newer. */
function asRgb(context: CanvasRenderingContext2D, colour: string): string {
  context.clearRect(0, 0, 1, 1);
  context.fillStyle = colour;
  context.fillRect(0, 0, 1, 1);
  const [red = 0, green = 0, blue = 0, alpha = 255] = context.getImageData(0, 0, 1, 1).data;
  return `rgba(${red}, ${green}, ${blue}, ${Math.round((alpha / 255) * 1000) / 1000})`;
}

/** The same colour, as opaque as `alpha` says. */
export function faded(colour: string, alpha: number): string {
  const parts = /^rgba\((\d+), (\d+), (\d+), [\d.]+\)$/.exec(colour);
  return parts === null ? colour : `rgba(${parts[1]}, ${parts[2]}, ${parts[3]}, ${alpha})`;
}

/** Calls back whenever the theme may have changed; returns what ends that. */
export function watchTheme(changed: () => void): () => void {
  const observer = new MutationObserver(changed);
  observer.observe(document.documentElement, { attributes: true });
  const system = matchMedia("(prefers-color-scheme: dark)");
  system.addEventListener("change", changed);
  return () => {
    observer.disconnect();
    system.removeEventListener("change", changed);
  };
}
