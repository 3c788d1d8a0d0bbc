/** Stretches of time behind a series: regimes, or the moment that is pinned. */

import type {
  IPrimitivePaneRenderer,
  IPrimitivePaneView,
  ISeriesPrimitive,
  Logical,
  PrimitivePaneViewZOrder,
  SeriesAttachedParameter,
  Time,
} from "lightweight-charts";

import { seconds } from "./engine";

export interface PaintedBand {
  readonly start_ms: number;
  readonly end_ms: number;
  readonly fill: string;
}

/** Bands over the whole height of a pane, under everything else that is drawn. */
export class Bands implements ISeriesPrimitive<Time> {
  private place: SeriesAttachedParameter<Time> | undefined;
  private bands: readonly PaintedBand[] = [];
  private readonly views: readonly IPrimitivePaneView[];

  constructor() {
    const renderer: IPrimitivePaneRenderer = {
      draw: () => undefined,
      drawBackground: (target) => {
        target.useBitmapCoordinateSpace(({ context, bitmapSize, horizontalPixelRatio }) => {
          for (const [start, end, fill] of this.spans(bitmapSize.width / horizontalPixelRatio)) {
            context.fillStyle = fill;
            const left = Math.round(start * horizontalPixelRatio);
            const right = Math.max(left + 1, Math.round(end * horizontalPixelRatio));
            context.fillRect(left, 0, right - left, bitmapSize.height);
          }
        });
      },
    };
    const zOrder: PrimitivePaneViewZOrder = "bottom";
    this.views = [{ zOrder: () => zOrder, renderer: () => renderer }];
  }

  attached(place: SeriesAttachedParameter<Time>): void {
    this.place = place;
  }

  detached(): void {
    this.place = undefined;
  }

  paneViews(): readonly IPrimitivePaneView[] {
    return this.views;
  }

  show(bands: readonly PaintedBand[]): void {
    this.bands = bands;
    this.place?.requestUpdate();
  }

  /** Left, right and colour of what can be seen. */
  private *spans(width: number): Generator<readonly [number, number, string]> {
    const scale = this.place?.chart.timeScale();
    if (scale === undefined) return;
    const half = scale.options().barSpacing / 2;
    let painted = 0; // each place once: many short bands within one bar are no stronger than one
    for (const band of this.bands) {
      const first = scale.timeToIndex(seconds(band.start_ms), true);
      const last = scale.timeToIndex(seconds(band.end_ms), true);
      if (first === null || last === null) continue;
      const left = scale.logicalToCoordinate(first as number as Logical);
      const right = scale.logicalToCoordinate(last as number as Logical);
      if (left === null || right === null || right + half < 0 || left - half > width) continue;
      const from = Math.max(left - half, painted);
      const to = Math.min(right + half, width);
      if (to <= from) continue;
      painted = to;
      yield [from, to, band.fill];
    }
  }
}
