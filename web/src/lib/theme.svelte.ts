// Light or dark, and which two colours mean up and down. The system decides until a person does.

export type ThemeChoice = "system" | "dark" | "light";
export type Palette = "safe" | "classic";

function kept(name: string): string | null {
  try {
    return localStorage.getItem(name);
  } catch {
    return null;
  }
}

function keep(name: string, value: string | null): void {
  try {
    if (value === null) localStorage.removeItem(name);
    else localStorage.setItem(name, value);
  } catch {
    // A browser that keeps nothing: the choice lasts as long as the page.
  }
}

const system = matchMedia("(prefers-color-scheme: light)");

class Theme {
  choice = $state<ThemeChoice>("system");
  palette = $state<Palette>("safe");
  #systemLight = $state(system.matches);
  readonly dark: boolean = $derived(this.choice === "system" ? !this.#systemLight : this.choice === "dark");

  constructor() {
    const choice = kept("theme");
    if (choice === "dark" || choice === "light") this.choice = choice;
    if (kept("palette") === "classic") this.palette = "classic";
    system.addEventListener("change", () => (this.#systemLight = system.matches));
  }

  choose(choice: ThemeChoice): void {
    this.choice = choice;
    keep("theme", choice === "system" ? null : choice);
    if (choice === "system") delete document.documentElement.dataset["theme"];
    else document.documentElement.dataset["theme"] = choice;
  }

  choosePalette(palette: Palette): void {
    this.palette = palette;
    keep("palette", palette === "safe" ? null : palette);
    if (palette === "safe") delete document.documentElement.dataset["palette"];
    else document.documentElement.dataset["palette"] = palette;
  }
}

export const theme = new Theme();

/** The value of a token of styles/tokens.css, for canvases; whoever reads it in an effect follows the theme. */
export function token(name: `--${string}`): string {
  void theme.dark;
  void theme.palette;
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}
