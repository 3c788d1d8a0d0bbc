/** Indicators on a chart of candles: lines over them, and panes of their own below. */

import { HistogramSeries, LineSeries, LineStyle } from "lightweight-charts";
import type {
  HistogramData,
  ISeriesApi,
  LineData,
  LineWidth,
  SeriesPartialOptionsMap,
  Time,
  WhitespaceData,
} from "lightweight-charts";

import { decimalsOf } from "$lib/format";

import { seconds } from "./engine";
import type { Stage } from "./engine";
import { changedFrom, deeper } from "./growth";
import { faded } from "./palette";
import type { Palette } from "./palette";
import { Ribbons } from "./ribbon";
import type { DrawnCurve, DrawnStudy } from "./types";

/** Where a pane begins, in pixels from the top of the chart. */
export interface PanePlace {
  readonly id: string;
  readonly top: number;
}

/** Of the candles, where each pane below them has 1. */
const CANDLES_SHARE = 3.4;
const STYLES = { solid: LineStyle.Solid, dashed: LineStyle.Dashed, dotted: LineStyle.Dotted } as const;

/** Of a piece of a line that is not drawn: it has the colour of the point where it begins. */
const UNSEEN = "rgba(0, 0, 0, 0)";

type Point = LineData | HistogramData | WhitespaceData;

interface Shown {
  readonly series: ISeriesApi<"Line"> | ISeriesApi<"Histogram">;
  times: readonly number[];
  values: readonly (number | null)[];
}

export class Studies {
  readonly ribbons = new Ribbons();
  private studies: readonly DrawnStudy[] = [];
  private times: readonly number[] = [];
  private readonly shown = new Map<string, Shown>();
  private panes: readonly string[] = [];
  private readonly sizes: ResizeObserver;
  private asked = 0;

  constructor(
    private readonly stage: Stage,
    private readonly placed: (panes: readonly PanePlace[]) => void,
  ) {
    this.sizes = new ResizeObserver(() => this.tell());
  }

  /** Draws these, whose values belong to the bars of these times; only what changed is given to the library. */
  show(studies: readonly DrawnStudy[], times: readonly number[]): void {
    this.studies = studies;
    this.times = times;
    this.arrange();
    for (const [key, study, curve] of this.curves()) {
      const shown = this.shown.get(key);
      if (shown !== undefined) this.give(shown, study, curve);
    }
    this.shade();
  }

  repaint(): void {
    for (const [key, study, curve] of this.curves()) {
      const shown = this.shown.get(key);
      if (shown === undefined) continue;
      shown.series.applyOptions(this.look(study, curve));
      if (curve.kind === "columns") shown.times = []; // each column has its own colour
      this.give(shown, study, curve);
    }
    this.shade();
  }

  /** The lowest and the highest value of bands among some bars. */
  extent(from: number, to: number): readonly [number, number] | undefined {
    let [low, high] = [Infinity, -Infinity];
    for (const { band, curves } of this.studies) {
      if (band !== true) continue;
      for (const { values } of curves) {
        for (let bar = Math.max(0, Math.floor(from)); bar <= to && bar < values.length; bar += 1) {
          const value = values[bar] ?? null;
          if (value === null) continue;
          low = Math.min(low, value);
          high = Math.max(high, value);
        }
      }
    }
    return low <= high ? [low, high] : undefined;
  }

  dispose(): void {
    this.sizes.disconnect();
    cancelAnimationFrame(this.asked);
  }

  private *curves(): Generator<readonly [string, DrawnStudy, DrawnCurve]> {
    for (const study of this.studies) for (const curve of study.curves) yield [`${study.id} ${curve.words}`, study, curve];
  }

  /** Takes away what is no longer wanted, and adds what is not there yet; the panes follow each other as given. */
  private arrange(): void {
    const panes = this.studies.filter((study) => study.pane !== undefined).map((study) => study.id);
    const moved = panes.join() !== this.panes.join();
    const below = new Set([...this.panes, ...panes]);
    const wanted = new Set([...this.curves()].map(([key]) => key));
    for (const [key, { series }] of [...this.shown].reverse()) {
      const inPane = below.has(key.slice(0, key.indexOf(" ")));
      if (wanted.has(key) && !(moved && inPane)) continue;
      this.stage.chart.removeSeries(series); // and its pane, once that is empty
      this.shown.delete(key);
    }
    for (const [key, study, curve] of this.curves()) {
      if (!this.shown.has(key)) this.shown.set(key, this.added(study, curve, panes.indexOf(study.id) + 1));
    }
    if (!moved) return;
    this.panes = panes;
    this.stage.chart.panes().forEach((pane, index) => pane.setStretchFactor(index === 0 ? CANDLES_SHARE : 1));
    cancelAnimationFrame(this.asked);
    this.asked = requestAnimationFrame(() => this.watch());
  }

  private added(study: DrawnStudy, curve: DrawnCurve, pane: number): Shown {
    const { chart } = this.stage;
    const look = this.look(study, curve);
    const series =
      curve.kind === "line" ? chart.addSeries(LineSeries, look, pane) : chart.addSeries(HistogramSeries, look, pane);
    if (study.pane !== undefined) {
      series.priceScale().applyOptions({ scaleMargins: { top: 0.22, bottom: 0.08 } });
      if (curve === study.curves[0]) this.rule(series, study.pane.rules);
    }
    return { series, times: [], values: [] };
  }

  private rule(series: Shown["series"], rules: readonly number[]): void {
    for (const price of rules) {
      series.createPriceLine({
        price,
        color: faded(this.stage.palette.quiet, 0.45),
        lineWidth: 1,
        lineStyle: LineStyle.Dashed,
        axisLabelColor: this.stage.palette.raised,
        axisLabelTextColor: this.stage.palette.quiet,
      });
    }
  }

  private look(study: DrawnStudy, curve: DrawnCurve): SeriesPartialOptionsMap["Line"] & SeriesPartialOptionsMap["Histogram"] {
    const { pane } = study;
    const [minValue, maxValue] = pane?.range ?? [0, 0];
    return {
      color: faded(inkOf(curve, this.stage.palette), 0.9),
      lineWidth: (curve.width ?? 1) as LineWidth,
      lineStyle: STYLES[curve.dash ?? "solid"],
      lastValueVisible: false,
      priceLineVisible: false,
      crosshairMarkerVisible: false,
      ...(pane === undefined
        ? { autoscaleInfoProvider: () => null }
        : pane.range !== undefined
          ? { autoscaleInfoProvider: () => ({ priceRange: { minValue, maxValue } }) }
          : {}),
    };
  }

  /** Gives the library the values from the first one that changed on. */
  private give(shown: Shown, study: DrawnStudy, curve: DrawnCurve): void {
    const { times } = this;
    const { values } = curve;
    const from = changedFrom(shown, { times, values });
    const grew = shown.times.length > 0 && from >= shown.times.length - 1 && curve.ends?.(from - 1) !== true;
    shown.times = times;
    shown.values = values;
    const series = shown.series as ISeriesApi<"Line" | "Histogram">;
    if (!grew) {
      const size = Math.abs(values.findLast((value) => value !== null) ?? 1);
      const ruled = (study.pane?.rules.length ?? 0) > 0; // by what the axis names instead
      series.applyOptions({
        priceFormat: {
          type: "custom",
          minMove: 10 ** -decimalsOf(size),
          formatter: study.format,
          ...(ruled ? { tickmarksFormatter: (figures: number[]) => figures.map(() => "") } : {}),
        },
      });
      series.setData(times.map((_, bar) => this.point(curve, bar)));
    } else for (let bar = from; bar < times.length; bar += 1) series.update(this.point(curve, bar));
  }

  private point(curve: DrawnCurve, bar: number): Point {
    const time: Time = seconds(this.times[bar] ?? 0);
    const value = curve.values[bar] ?? null;
    if (value === null) return { time };
    if (curve.kind === "line") return curve.ends?.(bar) === true ? { time, value, color: UNSEEN } : { time, value };
    const { up, down } = this.stage.palette.tones;
    return { time, value, color: faded(value >= 0 ? up : down, deeper(curve.values, bar) ? 0.75 : 0.4) };
  }

  private shade(): void {
    const { palette } = this.stage;
    this.ribbons.show(
      this.studies.flatMap(({ band, curves }) => {
        const [upper, lower] = [curves[0], curves.at(-1)];
        if (band !== true || upper === undefined || lower === undefined) return [];
        return [{ upper: upper.values, lower: lower.values, fill: faded(inkOf(upper, palette), 0.09) }];
      }),
    );
  }

  /** Follows the sizes of the panes, which a person may drag. */
  private watch(): void {
    this.sizes.disconnect();
    for (const pane of this.stage.chart.panes()) {
      const row = pane.getHTMLElement();
      if (row !== null) this.sizes.observe(row);
    }
    this.tell();
  }

  private tell(): void {
    const top = this.stage.host.getBoundingClientRect().top;
    const rows = this.stage.chart.panes().slice(1).map((pane) => pane.getHTMLElement());
    this.placed(
      this.panes.flatMap((id, index) => {
        const row = rows[index] ?? null;
        return row === null ? [] : [{ id, top: row.getBoundingClientRect().top - top }];
      }),
    );
  }
}

function inkOf({ ink }: DrawnCurve, palette: Palette): string {
  return typeof ink === "number" ? (palette.series[ink % palette.series.length] ?? palette.quiet) : palette.tones[ink];
}
