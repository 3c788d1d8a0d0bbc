/** From the buys of each trade to its sale: a thin line between two prices, where both can be seen. */

import type {
  IPrimitivePaneRenderer,
  ISeriesPrimitive,
  Logical,
  SeriesAttachedParameter,
  Time,
} from "lightweight-charts";

export interface Trip {
  /** Indices of bars. */
  readonly from: number;
  readonly to: number;
  readonly from_price: number;
  readonly to_price: number;
  readonly colour: string;
}

export class Trips implements ISeriesPrimitive<Time> {
  private place: SeriesAttachedParameter<Time> | undefined;
  private trips: readonly Trip[] = [];
  private readonly renderer: IPrimitivePaneRenderer = {
    draw: (target) => {
      target.useMediaCoordinateSpace(({ context, mediaSize }) => {
        context.lineWidth = 1.25;
        context.setLineDash([3, 3]);
        for (const trip of this.trips) this.draw(context, trip, mediaSize.width);
        context.setLineDash([]);
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

  show(trips: readonly Trip[]): void {
    this.trips = trips;
    this.place?.requestUpdate();
  }

  private draw(context: CanvasRenderingContext2D, trip: Trip, width: number): void {
    if (this.place === undefined) return;
    const scale = this.place.chart.timeScale();
    const left = scale.logicalToCoordinate(trip.from as Logical);
    const right = scale.logicalToCoordinate(trip.to as Logical);
    const from = this.place.series.priceToCoordinate(trip.from_price);
    const to = this.place.series.priceToCoordinate(trip.to_price);
    if (left === null || right === null || from === null || to === null || left < 0 || right > width) return;
    context.strokeStyle = trip.colour;
    context.beginPath();
    context.moveTo(left, from);
    context.lineTo(right, to);
    context.stroke();
  }
}
