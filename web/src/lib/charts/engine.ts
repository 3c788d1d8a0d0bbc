/** The only room that loads the chart library: it and what is built on it lie in a chunk of their own. */

import {
  ColorType,
  CrosshairMode,
  LineStyle,
  createChartEx,
  defaultHorzScaleBehavior,
} from "lightweight-charts";
import type {
  ChartOptions,
  DeepPartial,
  IChartApiBase,
  IHorzScaleBehavior,
  Logical,
  Mutable,
  TickMark,
  TickMarkWeightValue,
  Time,
  TimeScalePoint,
  UTCTimestamp,
} from "lightweight-charts";

import { moment, onTheWall, tick, unitOf, weight } from "./clock";
import type { Zone } from "./clock";
import { faded, readPalette, watchTheme } from "./palette";
import type { Palette } from "./palette";
import { clear, whole } from "./room";

/** Milliseconds as the library counts: in whole seconds. */
export function seconds(ms: number): UTCTimestamp {
  return Math.floor(ms / 1000) as UTCTimestamp;
}

/** Milliseconds of a time that this page gave to the library; undefined where nothing stands. */
export function milliseconds(time: Time | undefined): number | undefined {
  return typeof time === "number" ? time * 1000 : undefined;
}

/** The library's own axis of time, but days begin where they begin in the zone: DST needs no shifted bars. */
function axisOf(zone: Zone, fits: (words: string, index: number) => boolean): IHorzScaleBehavior<Time> {
  const Standard = defaultHorzScaleBehavior();
  let asked = 0;
  class Axis extends Standard {
    override formatTickmark(mark: TickMark): string {
      const words = tick(Number(mark.originalTime) * 1000, unitOf(mark.weight), zone);
      return fits(words, mark.index) ? words : "";
    }

    /** Words are kept by this key; whether they fit changes as the axis moves, so none are. */
    override cacheKey(): number {
      asked += 1;
      return asked;
    }

    override fillWeightsForPoints(points: readonly Mutable<TimeScalePoint>[], start: number): void {
      const wall = (index: number): number =>
        onTheWall(Number(points[index]?.originalTime) * 1000, zone);
      for (let index = Math.max(start, 1); index < points.length; index += 1) {
        const point = points[index];
        if (point !== undefined) {
          point.timeWeight = weight(wall(index), wall(index - 1)) as TickMarkWeightValue;
        }
      }
      const first = points[0];
      if (start === 0 && first !== undefined && points.length > 1) {
        const length = (wall(points.length - 1) - wall(0)) / (points.length - 1);
        first.timeWeight = weight(wall(0), wall(0) - Math.ceil(length)) as TickMarkWeightValue;
      }
    }
  }
  return new Axis();
}

function themed(palette: Palette): DeepPartial<ChartOptions> {
  const crosshair = { color: faded(palette.quiet, 0.55), labelBackgroundColor: palette.raised };
  return {
    layout: {
      background: { type: ColorType.Solid, color: "rgba(0, 0, 0, 0)" },
      textColor: palette.quiet,
      fontSize: palette.size,
      fontFamily: palette.font,
      panes: { separatorColor: palette.line, separatorHoverColor: faded(palette.tones.accent, 0.2) },
    },
    grid: {
      vertLines: { color: faded(palette.line, 0.45) },
      horzLines: { color: faded(palette.line, 0.45) },
    },
    crosshair: { vertLine: crosshair, horzLine: crosshair },
    timeScale: { borderColor: palette.line },
    rightPriceScale: { borderColor: palette.line },
  };
}

export interface StageOptions {
  readonly zone: Zone;
  /** How a value is written on the axis and at the crosshair. */
  readonly format: (value: number) => string;
  /** Whether every series brings its own way of writing instead: panes have different scales. */
  readonly panes?: boolean;
  readonly magnet?: boolean;
  /** Whether it carries the mark of the library; once on a page is enough. */
  readonly logo?: boolean;
}

/** One chart in one element: it fills it, follows its size and the theme, and leaves nothing behind. */
export class Stage {
  readonly chart: IChartApiBase<Time>;
  palette: Palette;
  private readonly format: (value: number) => string;
  private readonly repaints: ((palette: Palette) => void)[] = [];
  private readonly unwatch: () => void;
  private tags: () => readonly number[] = () => [];
  private heightOf: (value: number) => number | null = () => null;

  constructor(
    readonly host: HTMLElement,
    options: StageOptions,
  ) {
    this.palette = readPalette(host);
    this.format = options.format;
    const written = { priceFormatter: options.format, tickmarksPriceFormatter: (values: number[]) => this.figures(values) };
    this.chart = createChartEx<Time, IHorzScaleBehavior<Time>>(host, axisOf(options.zone, (words, index) => this.fits(words, index)), {
      autoSize: true,
      layout: { attributionLogo: options.logo ?? true },
      localization: {
        ...(options.panes === true ? {} : written),
        timeFormatter: (time: Time) => moment(milliseconds(time) ?? 0, options.zone),
      },
      crosshair: {
        mode: options.magnet === true ? CrosshairMode.MagnetOHLC : CrosshairMode.Normal,
        vertLine: { width: 1, style: LineStyle.Dashed },
        horzLine: { width: 1, style: LineStyle.Dashed },
      },
      timeScale: {
        timeVisible: true,
        secondsVisible: false,
        rightOffset: 6,
        rightBarStaysOnScroll: true,
        minBarSpacing: 0.05,
      },
      rightPriceScale: { scaleMargins: { top: 0.12, bottom: 0.08 }, minimumWidth: 64, entireTextOnly: true },
      handleScroll: { vertTouchDrag: false },
    });
    this.chart.applyOptions(themed(this.palette));
    this.unwatch = watchTheme(() => {
      this.palette = readPalette(host);
      this.chart.applyOptions(themed(this.palette));
      for (const repaint of this.repaints) repaint(this.palette);
    });
  }

  /** Paints now, and again whenever the theme changes. */
  paint(repaint: (palette: Palette) => void): void {
    this.repaints.push(repaint);
    repaint(this.palette);
  }

  /** Keeps the figures of the scale clear of tags on it: where these stand, and at what height a value does. */
  keepClear(tags: () => readonly number[], heightOf: (value: number) => number | null): void {
    this.tags = tags;
    this.heightOf = heightOf;
  }

  /** Writes the figures of the scale anew, once tags have moved and the scale has not. */
  refigure(): void {
    const scale = this.chart.priceScale("right");
    scale.applyOptions({ scaleMargins: scale.options().scaleMargins });
  }

  /** Figures of the scale, none of which tags cover. */
  figures(values: readonly number[]): string[] {
    return values.map((value) => (this.covered(value) ? "" : this.format(value)));
  }

  private covered(value: number): boolean {
    const y = this.heightOf(value);
    return y !== null && !clear(y, this.tags(), this.palette.size);
  }

  /** Whether words of the axis of time are not cut by its ends. */
  private fits(words: string, index: number): boolean {
    const scale = this.chart.timeScale();
    const x = scale.logicalToCoordinate(index as Logical);
    return x === null || whole(words, x, scale.width(), this.palette.size);
  }

  /** Scrolls just so far that the point with this index is in sight. */
  reveal(index: number): void {
    const scale = this.chart.timeScale();
    const seen = scale.getVisibleLogicalRange();
    if (seen === null) return;
    const by = index < seen.from ? index - seen.from : Math.max(index - seen.to, 0);
    if (by !== 0) scale.setVisibleLogicalRange({ from: seen.from + by, to: seen.to + by });
  }

  dispose(): void {
    this.unwatch();
    this.repaints.length = 0;
    this.chart.remove();
  }
}
