/** The space between two lines, such as the bands of Bollinger, shaded behind the candles. */

import type {
  IPrimitivePaneRenderer,
  ISeriesPrimitive,
  Logical,
  SeriesAttachedParameter,
  Time,
} from "lightweight-charts";

export interface PaintedRibbon {
  readonly upper: readonly (number | null)[];
  readonly lower: readonly (number | null)[];
  readonly fill: string;
}

export class Ribbons implements ISeriesPrimitive<Time> {
  private place: SeriesAttachedParameter<Time> | undefined;
  private ribbons: readonly PaintedRibbon[] = [];
  private readonly renderer: IPrimitivePaneRenderer = {
    draw: () => undefined,
    drawBackground: (target) => {
      target.useMediaCoordinateSpace(({ context }) => {
        for (const ribbon of this.ribbons) this.draw(context, ribbon);
      });
    },
  };
  private readonly views = [{ zOrder: () => "bottom" as const, renderer: () => this.renderer }];

  attached(place: SeriesAttachedParameter<Time>): void {
    this.place = place;
  }

  detached(): void {
    this.place = undefined;
  }

  paneViews(): typeof this.views {
    return this.views;
  }

  show(ribbons: readonly PaintedRibbon[]): void {
    this.ribbons = ribbons;
    this.place?.requestUpdate();
  }

  /** Along the upper line and back along the lower one, for each stretch in which both have values. */
  private draw(context: CanvasRenderingContext2D, ribbon: PaintedRibbon): void {
    const scale = this.place?.chart.timeScale();
    const range = scale?.getVisibleLogicalRange() ?? null;
    const series = this.place?.series;
    if (series === undefined || scale === undefined || range === null) return;
    const first = Math.max(0, Math.floor(range.from) - 1);
    const last = Math.min(ribbon.upper.length - 1, Math.ceil(range.to) + 1);
    context.fillStyle = ribbon.fill;
    let above: [number, number][] = [];
    let below: [number, number][] = [];
    const close = (): void => {
      if (above.length > 1) {
        context.beginPath();
        for (const [x, y] of [...above, ...below.reverse()]) context.lineTo(x, y);
        context.fill();
      }
      above = [];
      below = [];
    };
    for (let bar = first; bar <= last; bar += 1) {
      const [upper, lower] = [ribbon.upper[bar] ?? null, ribbon.lower[bar] ?? null];
      const x = scale.logicalToCoordinate(bar as Logical);
      const top = upper === null ? null : series.priceToCoordinate(upper);
      const bottom = lower === null ? null : series.priceToCoordinate(lower);
      if (x === null || top === null || bottom === null) {
        close();
        continue;
      }
      above.push([x, top]);
      below.push([x, bottom]);
    }
    close();
  }
}
