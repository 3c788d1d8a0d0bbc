/** Prices ruled across the chart, with words at its right edge: exits, rungs, and the levels of strategies. */

import type {
  IPrimitivePaneRenderer,
  ISeriesPrimitive,
  ISeriesPrimitiveAxisView,
  Logical,
  SeriesAttachedParameter,
  Time,
} from "lightweight-charts";

import { seconds } from "./engine";
import type { Palette, Tone } from "./palette";

export interface Ruler {
  readonly price: number;
  readonly words: string;
  readonly tone: Tone;
  /** From when on it stands; null for the whole width. */
  readonly from_ms: number | null;
  readonly dash: "solid" | "dashed" | "dotted";
  /** Whether the axis names its price too. */
  readonly onAxis: boolean;
}

/** Words at the right edge for a level that is drawn elsewhere; its price depends on what is in sight. */
export interface Tag {
  readonly words: string;
  readonly colour: string;
  readonly values: readonly (number | null)[];
}

/** Below this width only the words that matter most are written. */
const NARROW = 420;

/** Words at the height of their price, and where they end: at the right edge, or beside others of that height. */
export interface Placed {
  y: number;
  readonly words: string;
  readonly colour: string;
  readonly width: number;
  right: number;
}

/** Between words that stand beside each other. */
const GAP = 8;
/** So far, in their heights, words may stand from their price. */
const NUDGE = 0.85;
/** Words reach no further to the left than this share of the width. */
const REACH = 0.5;

export const DASHES: Readonly<Record<Ruler["dash"], readonly number[]>> = { solid: [], dashed: [6, 4], dotted: [1.5, 3] };
/** Of a line of words, in heights of its letters. */
const LINE = 1.36;

export class Rulers implements ISeriesPrimitive<Time> {
  private place: SeriesAttachedParameter<Time> | undefined;
  private rulers: readonly Ruler[] = [];
  private tags: readonly Tag[] = [];
  private palette: Palette | undefined;
  private format: (price: number) => string = String;
  private axis: readonly ISeriesPrimitiveAxisView[] = [];
  private readonly renderer: IPrimitivePaneRenderer = {
    draw: (target) => {
      target.useMediaCoordinateSpace(({ context, mediaSize }) => this.draw(context, mediaSize.width, mediaSize.height));
    },
  };
  private readonly views = [{ zOrder: () => "top" as const, renderer: () => this.renderer }];

  attached(place: SeriesAttachedParameter<Time>): void {
    this.place = place;
  }

  detached(): void {
    this.place = undefined;
  }

  paneViews(): typeof this.views {
    return this.views;
  }

  priceAxisViews(): readonly ISeriesPrimitiveAxisView[] {
    return this.axis;
  }

  show(rulers: readonly Ruler[], tags: readonly Tag[], palette: Palette, format: (price: number) => string): void {
    this.rulers = rulers;
    this.tags = tags;
    this.palette = palette;
    this.format = format;
    this.axis = rulers
      .filter((ruler) => ruler.onAxis)
      .map((ruler) => ({
        coordinate: () => this.place?.series.priceToCoordinate(ruler.price) ?? -100,
        text: () => format(ruler.price),
        textColor: () => palette.surface,
        backColor: () => palette.tones[ruler.tone],
      }));
    this.place?.requestUpdate();
  }

  /** Where tags stand on the axis. */
  heights(): number[] {
    return this.axis.map((view) => view.coordinate());
  }

  private draw(context: CanvasRenderingContext2D, width: number, height: number): void {
    if (this.place === undefined || this.palette === undefined) return;
    const placed: Placed[] = [];
    const last: (() => void)[] = []; // rungs are many: what matters more has its place first
    context.font = `${this.palette.size}px ${this.palette.font}`;
    const label = (y: number, words: string, colour: string): void => {
      placed.push({ y, words, colour, width: context.measureText(words).width + 12, right: width });
    };
    for (const ruler of this.rulers) {
      const y = this.place.series.priceToCoordinate(ruler.price);
      const left = ruler.from_ms === null ? 0 : this.left(ruler.from_ms);
      if (y === null || left === null || left > width) continue;
      const colour = this.palette.tones[ruler.tone];
      if (y < 0 || y > height) {
        const edge = (this.palette.size * LINE) / 2 + 1;
        if (ruler.onAxis) label(y < 0 ? edge : height - edge, beyond(ruler.words, this.format(ruler.price), y < 0), colour);
        continue;
      }
      rule(context, Math.max(left, 0), width, y, colour, DASHES[ruler.dash]);
      if (ruler.onAxis) label(y, ruler.words, colour);
      else if (width >= NARROW) last.push(() => label(y, ruler.words, colour));
    }
    for (const tag of this.tags) {
      const value = this.inSight(tag.values);
      const y = value === null ? null : this.place.series.priceToCoordinate(value);
      if (y !== null && y >= 0 && y <= height) label(y, width >= NARROW ? tag.words : short(tag.words), tag.colour);
    }
    for (const write of last) write();
    const high = this.palette.size * LINE;
    for (const one of beside(placed, width, height, high)) this.write(context, one, high);
  }

  private left(ms: number): number | null {
    const scale = this.place?.chart.timeScale();
    const index = scale?.timeToIndex(seconds(ms), true) ?? null;
    return scale === undefined || index === null ? null : scale.logicalToCoordinate(index as number as Logical);
  }

  /** The newest value that is in sight, but none that ended before the right edge. */
  private inSight(values: readonly (number | null)[]): number | null {
    const range = this.place?.chart.timeScale().getVisibleLogicalRange() ?? null;
    if (range === null) return null;
    return values[Math.min(Math.floor(range.to), values.length - 1)] ?? null;
  }

  private write(context: CanvasRenderingContext2D, one: Placed, high: number): void {
    if (this.palette === undefined) return;
    context.textBaseline = "middle";
    context.textAlign = "right";
    context.globalAlpha = 0.86;
    context.fillStyle = this.palette.surface;
    context.fillRect(one.right - one.width, one.y - high / 2, one.width, high);
    context.globalAlpha = 1;
    context.fillStyle = one.colour;
    context.fillRect(one.right - 3, one.y - high / 2, 3, high);
    context.fillText(one.words, one.right - 7, one.y + 0.5);
  }
}

/** Words of a price that lies beyond the pane, above or below. */
export function beyond(words: string, price: string, above: boolean): string {
  return `${above ? "↑" : "↓"} ${words}, ${price}`;
}

/** Without the strategy, whose colour says it too. */
function short(words: string): string {
  return words.slice(words.indexOf(" ") + 1);
}

function rule(
  context: CanvasRenderingContext2D,
  left: number,
  right: number,
  y: number,
  colour: string,
  dash: readonly number[],
): void {
  context.save();
  context.strokeStyle = colour;
  context.lineWidth = 1;
  context.setLineDash([...dash]);
  context.beginPath();
  context.moveTo(left, Math.round(y) + 0.5);
  context.lineTo(right, Math.round(y) + 0.5);
  context.stroke();
  context.restore();
}

/**
 * Words that stand at their own prices and over no others, the first ones first. What would lie over others moves up
 * or down by less than its height, else to their left; what finds no room, or would be cut by the pane, is left out:
 * the axis and the list have it.
 */
export function beside<One extends { y: number; readonly width: number; right: number }>(
  placed: readonly One[],
  width: number,
  height: number,
  high: number,
): One[] {
  const kept: One[] = [];
  const over = (one: One, y: number, right: number): One | undefined =>
    kept.find(
      (other) =>
        Math.abs(other.y - y) < high &&
        right - one.width < other.right + GAP &&
        other.right - other.width < right + GAP,
    );
  const inside = (y: number): boolean => y >= high / 2 && y <= height - high / 2;
  for (const one of placed) {
    if (!inside(one.y)) continue;
    const near = [0, ...kept.flatMap((other) => [other.y - high - one.y, other.y + high - one.y])]
      .filter((by) => Math.abs(by) <= NUDGE * high && inside(one.y + by))
      .sort((first, second) => Math.abs(first) - Math.abs(second));
    const by = near.find((each) => over(one, one.y + each, width) === undefined);
    let right = width;
    let other = by === undefined ? over(one, one.y, right) : undefined;
    while (other !== undefined) {
      right = other.right - other.width - GAP;
      other = over(one, one.y, right);
    }
    if (right - one.width < width * (1 - REACH)) continue;
    one.y += by ?? 0;
    one.right = right;
    kept.push(one);
  }
  return kept;
}
