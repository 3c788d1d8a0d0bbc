/** Levels of strategies as steps: each bar has the level that stood at its close, and a hole is a hole. */

import type {
  IPrimitivePaneRenderer,
  ISeriesPrimitive,
  Logical,
  SeriesAttachedParameter,
  Time,
} from "lightweight-charts";

import { DASHES } from "./rulers";
import type { DrawnLevel } from "./types";

export interface PaintedLevel extends DrawnLevel {
  readonly paint: string;
}

export class Levels implements ISeriesPrimitive<Time> {
  private place: SeriesAttachedParameter<Time> | undefined;
  private levels: readonly PaintedLevel[] = [];
  private readonly renderer: IPrimitivePaneRenderer = {
    draw: (target) => {
      target.useMediaCoordinateSpace(({ context }) => {
        context.save();
        context.lineWidth = 1;
        for (const level of this.levels) this.draw(context, level);
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

  private draw(context: CanvasRenderingContext2D, level: PaintedLevel): void {
    const scale = this.place?.chart.timeScale();
    const range = scale?.getVisibleLogicalRange() ?? null;
    if (this.place === undefined || scale === undefined || range === null) return;
    const spacing = scale.options().barSpacing;
    const step = Math.max(1, Math.floor(1 / spacing));
    const first = Math.max(0, Math.floor(range.from) - step);
    const last = Math.min(level.values.length - 1, Math.ceil(range.to));
    context.strokeStyle = level.paint;
    context.setLineDash([...DASHES[level.dash]]);
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
