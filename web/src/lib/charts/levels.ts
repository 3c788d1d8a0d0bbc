/**
 * Levels of strategies: as steps, where each bar has the level that stood at its close and a hole is a hole, or as
 * the straight lines that a channel is made of. Level ones that follow each other are steps too.
 */

import type {
  IPrimitivePaneRenderer,
  ISeriesPrimitive,
  Logical,
  SeriesAttachedParameter,
  Time,
} from "lightweight-charts";

import { DASHES } from "./rulers";
import type { DrawnLevel, DrawnStraight } from "./types";

export interface PaintedLevel extends DrawnLevel {
  readonly paint: string;
  /** Of lines that stand no more. */
  readonly faint: string;
}

export class Levels implements ISeriesPrimitive<Time> {
  private place: SeriesAttachedParameter<Time> | undefined;
  private levels: readonly PaintedLevel[] = [];
  private readonly renderer: IPrimitivePaneRenderer = {
    draw: (target) => {
      target.useMediaCoordinateSpace(({ context }) => {
        context.save();
        for (const level of this.levels) {
          context.setLineDash([...DASHES[level.dash]]);
          if (level.straight === undefined) this.drawSteps(context, level);
          else this.drawStraight(context, level, level.straight);
        }
        context.restore();
      });
    },
  };
  private readonly views = [{ renderer: () => this.renderer }];

  attached(place: SeriesAttachedParameter<Time>): void {
    this.place = place;
  }

  detached(): void {
    this.place = undefined;
  }

  paneViews(): typeof this.views {
    return this.views;
  }

  show(levels: readonly PaintedLevel[]): void {
    this.levels = levels;
    this.place?.requestUpdate();
  }

  private drawStraight(context: CanvasRenderingContext2D, level: PaintedLevel, lines: readonly DrawnStraight[]): void {
    const scale = this.place?.chart.timeScale();
    const range = scale?.getVisibleLogicalRange() ?? null;
    if (this.place === undefined || scale === undefined || range === null) return;
    const spacing = scale.options().barSpacing;
    const across = (place: number): number | null => {
      const bar = Math.floor(place); // the library has coordinates of whole bars only
      const x = scale.logicalToCoordinate(bar as Logical);
      return x === null ? null : x + (place - bar) * spacing;
    };
    for (const [index, line] of lines.entries()) {
      if (line.to < range.from || line.from > range.to) continue;
      const left = across(line.from);
      const right = across(line.to);
      const from = this.place.series.priceToCoordinate(line.from_price);
      const to = this.place.series.priceToCoordinate(line.to_price);
      if (left === null || right === null || from === null || to === null) continue;
      const stands = line === lines.at(-1);
      context.strokeStyle = stands ? level.paint : level.faint;
      context.lineWidth = stands ? 1.5 : 1;
      context.beginPath();
      const before = lines[index - 1];
      const step = before !== undefined && stepped(before, line) ? this.place.series.priceToCoordinate(before.to_price) : null;
      context.moveTo(left, step ?? from);
      context.lineTo(left, from);
      context.lineTo(right, to);
      context.stroke();
    }
  }

  private drawSteps(context: CanvasRenderingContext2D, level: PaintedLevel): void {
    const scale = this.place?.chart.timeScale();
    const range = scale?.getVisibleLogicalRange() ?? null;
    if (this.place === undefined || scale === undefined || range === null) return;
    const spacing = scale.options().barSpacing;
    const step = Math.max(1, Math.floor(1 / spacing));
    const first = Math.max(0, Math.floor(range.from) - step);
    const last = Math.min(level.values.length - 1, Math.ceil(range.to));
    context.strokeStyle = level.paint;
    context.lineWidth = 1;
    context.beginPath();
    let open = false;
    for (let bar = first; bar <= last; bar += step) {
      const value = level.values[bar] ?? null;
      const x = value === null ? null : scale.logicalToCoordinate(bar as Logical);
      const y = value === null ? null : this.place.series.priceToCoordinate(value);
      if (x === null || y === null) {
        open = false;
        continue;
      }
      const half = (spacing * step) / 2;
      if (open) context.lineTo(x - half, y);
      else context.moveTo(x - half, y);
      context.lineTo(x + half, y);
      open = true;
    }
    context.stroke();
  }
}

/** Whether one line goes on where the other ended, and both are level: what stood until then moved in one step. */
export function stepped(before: DrawnStraight, line: DrawnStraight): boolean {
  return before.to === line.from && before.from_price === before.to_price && line.from_price === line.to_price;
}
