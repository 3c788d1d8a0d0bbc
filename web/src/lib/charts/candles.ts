/** Candles with volume, and over them what a strategy looked at, what is held, and what was traded. */

import { CandlestickSeries, HistogramSeries, PriceScaleMode, createSeriesMarkers } from "lightweight-charts";
import type {
  AutoscaleInfo,
  CandlestickData,
  HistogramData,
  ISeriesApi,
  ISeriesMarkersPluginApi,
  LogicalRange,
  MouseEventParams,
  SeriesMarker,
  Time,
} from "lightweight-charts";

import { decimalsOf } from "$lib/format";

import { barOf, lastAtOrBefore } from "./align";
import { Bands } from "./bands";
import type { Zone } from "./clock";
import { Stage, milliseconds, seconds } from "./engine";
import { grewAtEnd } from "./growth";
import { Levels } from "./levels";
import { readable } from "./marks";
import { faded } from "./palette";
import type { Palette } from "./palette";
import { LETTER } from "./room";
import { Rulers } from "./rulers";
import type { Ruler } from "./rulers";
import { Studies } from "./studies";
import type { PanePlace } from "./studies";
import { Trips } from "./trips";
import type { Bars, DrawnLevel, DrawnMark, DrawnStudy, DrawnTrip } from "./types";

export interface CandleEvents {
  /** Index of the bar under the crosshair, and where that is; undefined when it left. */
  readonly hover: (bar: number | undefined, mark: string | undefined, x: number, y: number) => void;
  readonly pick: (bar: number | undefined, mark: string | undefined) => void;
  /** What is in sight, in indices of bars. */
  readonly sight: (from: number, to: number) => void;
  /** Where the panes below the candles begin. */
  readonly panes: (panes: readonly PanePlace[]) => void;
}

/** How far beyond the candles in sight a level may pull the price axis, in heights of what is in sight. */
const PULL = 0.4;
/** So long after the last movement words at marks look for their room again. */
const SETTLED_MS = 90;
const FIRST_BARS = 420;

export class CandleDrawing {
  private readonly stage: Stage;
  private readonly candles: ISeriesApi<"Candlestick">;
  private readonly volume: ISeriesApi<"Histogram">;
  private readonly markers: ISeriesMarkersPluginApi<Time>;
  private readonly rulers = new Rulers();
  private readonly trips = new Trips();
  private readonly lines = new Levels();
  private readonly pinned = new Bands();
  private bars: Bars | undefined;
  private levels: readonly DrawnLevel[] = [];
  private exits: readonly Ruler[] = [];
  private marks: readonly DrawnMark[] = [];
  private travelled: readonly DrawnTrip[] = [];
  private pin: number | undefined;
  private readonly studies: Studies;
  private settling = 0;
  /** Whether bars are being handed over: what is in sight meanwhile is not meant. */
  private filling = false;
  /** Whether the newest bars are in sight only until the next frame, which opens at an earlier moment. */
  private opening = false;

  constructor(
    host: HTMLElement,
    private readonly options: {
      readonly zone: Zone;
      readonly format: (price: number) => string;
      /** The moment at which the first bars end in sight; else at the newest. */
      readonly end_ms?: number | undefined;
    },
    private readonly events: CandleEvents,
  ) {
    this.stage = new Stage(host, { ...options, panes: true });
    const { chart } = this.stage;
    this.volume = chart.addSeries(HistogramSeries, {
      priceScaleId: "volume",
      priceFormat: { type: "volume" },
      lastValueVisible: false,
      priceLineVisible: false,
    });
    this.volume.priceScale().applyOptions({ scaleMargins: { top: 0.84, bottom: 0 } });
    this.candles = chart.addSeries(CandlestickSeries, {
      autoscaleInfoProvider: (original: () => AutoscaleInfo | null) => this.autoscale(original()),
    });
    chart.priceScale("right").applyOptions({ scaleMargins: { top: 0.1, bottom: 0.2 } });
    this.studies = new Studies(this.stage, (panes) => this.events.panes(panes));
    for (const primitive of [this.pinned, this.studies.ribbons, this.lines, this.trips, this.rulers]) this.candles.attachPrimitive(primitive);
    this.markers = createSeriesMarkers(this.candles, []);
    this.format = options.format;
    this.stage.keepClear(
      () => this.tags(),
      (price) => this.candles.priceToCoordinate(price),
    );
    this.stage.paint((palette) => this.repaint(palette));
    chart.subscribeCrosshairMove((event) => this.moved(event));
    chart.subscribeClick((event) => this.clicked(event));
    chart.timeScale().subscribeVisibleLogicalRangeChange((range) => {
      if (range !== null) this.seen(range);
    });
  }

  private readonly format: (price: number) => string;

  private seen(range: LogicalRange): void {
    if (this.bars === undefined || this.filling) return;
    if (this.opening && range.to > this.bars.times.length - 1) return;
    this.opening = false;
    this.events.sight(range.from, range.to);
    this.stage.refigure();
    window.clearTimeout(this.settling);
    this.settling = window.setTimeout(() => this.mark(), SETTLED_MS);
  }

  /** Draws these bars; what is in sight stays there when bars were only added at either end. */
  show(bars: Bars): void {
    const before = this.bars;
    const last = before === undefined ? -1 : before.times.length - 1;
    this.bars = bars;
    if (before !== undefined && last >= 0 && grewAtEnd(before, bars)) {
      this.filling = true; // each of them moves what is in sight there and back
      for (let index = last; index < bars.times.length; index += 1) {
        this.candles.update(candle(bars, index));
        this.volume.update(this.column(bars, index));
      }
      this.filling = false;
      const range = this.stage.chart.timeScale().getVisibleLogicalRange();
      if (range !== null) this.seen(range);
      return;
    }
    const size = bars.close.at(-1);
    if (size !== undefined) {
      this.candles.applyOptions({
        priceFormat: {
          type: "custom",
          minMove: 10 ** -decimalsOf(size),
          formatter: this.format,
          tickmarksFormatter: (values: number[]) => this.stage.figures(values),
        },
      });
    }
    this.filling = last < 0;
    this.candles.setData(bars.times.map((_, index) => candle(bars, index)));
    this.volume.setData(bars.times.map((_, index) => this.column(bars, index)));
    this.filling = false;
    if (last < 0 && bars.times.length > 0) this.open(bars);
  }

  /** Levels of strategies, one value for each bar. */
  drawLevels(levels: readonly DrawnLevel[]): void {
    this.levels = levels;
    this.write();
  }

  /** Exits and rungs of what is held. */
  drawPosition(exits: readonly Ruler[]): void {
    this.exits = exits;
    this.write();
  }

  /** Indicators, whose values are those of the bars that are shown. */
  drawStudies(studies: readonly DrawnStudy[]): void {
    this.studies.show(studies, this.bars?.times ?? []);
  }

  /** Whether volume is drawn, whether equal shares of the price are equally high, and what is free at the top, in pixels. */
  scaled(volume: boolean, log: boolean, free: number): void {
    const height = this.stage.chart.panes()[0]?.getHeight() ?? 0;
    this.volume.applyOptions({ visible: volume });
    this.stage.chart.priceScale("right").applyOptions({
      mode: log ? PriceScaleMode.Logarithmic : PriceScaleMode.Normal,
      scaleMargins: { top: Math.min(0.3, Math.max(0.1, height === 0 ? 0 : free / height)), bottom: volume ? 0.2 : 0.06 },
    });
  }

  drawTrades(marks: readonly DrawnMark[], travelled: readonly DrawnTrip[]): void {
    this.marks = marks;
    this.travelled = travelled;
    this.mark();
    this.travel();
  }

  /** Shades the bar of a moment; undefined shades none. */
  drawPin(time_ms: number | undefined): void {
    this.pin = time_ms;
    const { bars } = this;
    const bar = time_ms === undefined || bars === undefined ? -1 : barOf(bars, time_ms - 1);
    const start_ms = bars?.times[bar];
    const fill = faded(this.stage.palette.tones.accent, 0.22);
    this.pinned.show(start_ms === undefined ? [] : [{ start_ms, end_ms: start_ms, fill }]);
  }

  /** Brings the bar into sight and puts the crosshair on it. */
  walk(bar: number): void {
    const time_ms = this.bars?.times[bar];
    const close = this.bars?.close[bar];
    if (time_ms === undefined || close === undefined) return;
    this.stage.reveal(bar);
    this.stage.chart.setCrosshairPosition(close, seconds(time_ms), this.candles);
  }

  reveal(bar: number): void {
    this.stage.reveal(bar);
  }

  leave(): void {
    this.stage.chart.clearCrosshairPosition();
  }

  /** The newest bars at a readable width. */
  latest(): void {
    const count = this.bars?.times.length ?? 0;
    const shown = this.shown();
    const right = Math.max(6, Math.round(shown * 0.12));
    this.stage.chart.timeScale().setVisibleLogicalRange({ from: count - shown + right, to: count - 1 + right });
    this.stage.chart.priceScale("right").applyOptions({ autoScale: true });
  }

  /** The first bars: where they end in sight, at a readable width. */
  private open(bars: Bars): void {
    const { end_ms = Infinity } = this.options;
    const to = end_ms === Infinity ? -1 : lastAtOrBefore(bars.times, end_ms - 1);
    this.opening = to >= 0 && to < bars.times.length - 1;
    if (to < 0) this.latest();
    else this.stage.chart.timeScale().setVisibleLogicalRange({ from: to - this.shown(), to });
  }

  /** So many bars can be read side by side. */
  private shown(): number {
    return Math.min(FIRST_BARS, Math.max(40, Math.floor(this.stage.host.clientWidth / 8)));
  }

  dispose(): void {
    window.clearTimeout(this.settling);
    this.studies.dispose();
    this.stage.dispose();
  }

  private repaint(palette: Palette): void {
    const { up, down } = palette.tones;
    this.candles.applyOptions({
      upColor: up,
      downColor: down,
      borderUpColor: up,
      borderDownColor: down,
      wickUpColor: up,
      wickDownColor: down,
      priceLineColor: palette.quiet,
    });
    const { bars } = this;
    if (bars !== undefined) this.volume.setData(bars.times.map((_, index) => this.column(bars, index)));
    this.studies.repaint();
    this.write();
    this.mark();
    this.travel();
    this.drawPin(this.pin);
  }

  private write(): void {
    const { palette } = this.stage;
    const tags = this.levels.map((level) => ({
      words: level.words,
      colour: seriesColour(level, palette),
      values: level.values,
    }));
    this.lines.show(
      this.levels.map((level) => {
        const colour = seriesColour(level, palette);
        return { ...level, paint: faded(colour, 0.75), faint: faded(colour, 0.4) };
      }),
    );
    this.rulers.show(this.exits, tags, palette, this.format);
    this.stage.refigure();
  }

  /** Where tags stand on the scale: of the newest close in sight, and of what is held. */
  private tags(): number[] {
    const range = this.stage.chart.timeScale().getVisibleLogicalRange();
    const close = this.bars?.close.slice(0, Math.floor(range?.to ?? 0) + 1).at(-1);
    const height = close === undefined ? null : this.candles.priceToCoordinate(close);
    return [...(height === null ? [] : [height]), ...this.rulers.heights()];
  }

  private mark(): void {
    const { bars } = this;
    if (bars === undefined) return;
    const spacing = this.stage.chart.timeScale().options().barSpacing;
    const letter = this.stage.palette.size * LETTER;
    const worded = readable(
      this.marks.map((mark) => {
        const above = mark.kind === "sell";
        const width = mark.words.length * letter;
        const covered = this.covered(mark.bar, Math.ceil(width / 2 / spacing), above);
        return { x: mark.bar * spacing, width: covered ? 0 : width, above };
      }),
    );
    const markers = this.marks.flatMap((mark, index): SeriesMarker<Time>[] => {
      const time_ms = bars.times[mark.bar];
      if (time_ms === undefined) return [];
      const sell = mark.kind === "sell";
      return [
        {
          id: mark.id,
          time: seconds(time_ms),
          position: sell ? "aboveBar" : "belowBar",
          shape: sell ? "arrowDown" : mark.kind === "rung" ? "circle" : "arrowUp",
          color: this.stage.palette.tones[mark.tone],
          size: mark.kind === "rung" ? 0.6 : 1,
          ...(worded[index] === true ? { text: mark.words } : {}),
        },
      ];
    });
    this.markers.setMarkers(markers.sort((first, second) => Number(first.time) - Number(second.time)));
  }

  /** Whether candles to either side of a bar lie where its words would stand. */
  private covered(bar: number, reach: number, above: boolean): boolean {
    const { bars } = this;
    const place = (price: number | undefined): number => (price === undefined ? NaN : (this.candles.priceToCoordinate(price) ?? NaN));
    if (bars === undefined) return false;
    const { size } = this.stage.palette;
    const end = place(above ? bars.high[bar] : bars.low[bar]);
    const [top, bottom] = above ? [end - 3.2 * size, end - 1.5 * size] : [end + 1.5 * size, end + 3.2 * size];
    for (let index = bar - reach; index <= bar + reach; index += 1) {
      if (index !== bar && place(bars.high[index]) < bottom && place(bars.low[index]) > top) return true;
    }
    return false;
  }

  private travel(): void {
    const { tones } = this.stage.palette;
    this.trips.show(this.travelled.map((trip) => ({ ...trip, colour: faded(tones[trip.tone], 0.75) })));
  }

  private column(bars: Bars, index: number): HistogramData {
    const rising = (bars.close[index] ?? 0) >= (bars.open[index] ?? 0);
    const { up, down } = this.stage.palette.tones;
    return {
      time: seconds(bars.times[index] ?? 0),
      value: bars.volume[index] ?? 0,
      color: faded(rising ? up : down, 0.28),
    };
  }

  /** The candles in sight, and what lies near enough to be worth seeing with them. */
  private autoscale(info: AutoscaleInfo | null): AutoscaleInfo | null {
    const range = this.stage.chart.timeScale().getVisibleLogicalRange();
    if (info?.priceRange == null || range === null) return info;
    const { minValue, maxValue } = info.priceRange;
    const reach = Math.max(maxValue - minValue, maxValue * 0.002) * PULL;
    let low = minValue;
    let high = maxValue;
    const pull = (price: number): void => {
      if (price < minValue - reach || price > maxValue + reach) return;
      low = Math.min(low, price);
      high = Math.max(high, price);
    };
    const last = Math.min(Math.floor(range.to), (this.bars?.times.length ?? 0) - 1);
    for (const level of this.levels) {
      const value = level.values[last] ?? null;
      if (value !== null) pull(value);
    }
    for (const exit of this.exits) pull(exit.price);
    const bands = this.studies.extent(range.from, range.to);
    if (bands !== undefined) {
      low = Math.min(low, Math.max(bands[0], minValue - reach));
      high = Math.max(high, Math.min(bands[1], maxValue + reach));
    }
    return { ...info, priceRange: { minValue: low, maxValue: high } };
  }

  private moved(event: MouseEventParams<Time>): void {
    const bar = this.barAt(event);
    const mark = typeof event.hoveredObjectId === "string" ? event.hoveredObjectId : undefined;
    this.events.hover(bar, mark, event.point?.x ?? 0, event.point?.y ?? 0);
  }

  private clicked(event: MouseEventParams<Time>): void {
    const mark = typeof event.hoveredObjectId === "string" ? event.hoveredObjectId : undefined;
    this.events.pick(this.barAt(event), mark);
  }

  private barAt(event: MouseEventParams<Time>): number | undefined {
    const time_ms = milliseconds(event.time);
    if (time_ms === undefined || this.bars === undefined) return undefined;
    const bar = barOf(this.bars, time_ms);
    return bar < 0 ? undefined : bar;
  }
}

function seriesColour(level: DrawnLevel, palette: Palette): string {
  return palette.series[level.colour % palette.series.length] ?? palette.quiet;
}

function candle(bars: Bars, index: number): CandlestickData {
  return {
    time: seconds(bars.times[index] ?? 0),
    open: bars.open[index] ?? NaN,
    high: bars.high[index] ?? NaN,
    low: bars.low[index] ?? NaN,
    close: bars.close[index] ?? NaN,
  };
}
