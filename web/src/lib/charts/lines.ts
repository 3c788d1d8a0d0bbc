/** Series over time with bands behind them and a level across: the equity of an account, for one. */

import { AreaSeries, BaselineSeries, LineSeries, LineStyle, LineType } from "lightweight-charts";
import type { AreaData, IPriceLine, ISeriesApi, LineData, MouseEventParams, Time, WhitespaceData } from "lightweight-charts";

import { Bands } from "./bands";
import { Stage, milliseconds, seconds } from "./engine";
import type { StageOptions } from "./engine";
import { faded } from "./palette";
import type { Palette } from "./palette";
import type { Band, Level, LineSeriesData, Reading } from "./types";

type Drawn = ISeriesApi<"Area"> | ISeriesApi<"Baseline"> | ISeriesApi<"Line">;
type Point = LineData | AreaData | WhitespaceData;

interface Entry {
  readonly drawn: Drawn;
  data: LineSeriesData;
}

const BAND_ALPHA = 0.13;
const NONE = "rgba(0, 0, 0, 0)";
/** The library draws on over points without a value: from the last one before them the line is not to be seen. */
const UNDRAWN = { color: NONE, lineColor: NONE, topColor: NONE, bottomColor: NONE } as const;

export class LineDrawing {
  private readonly stage: Stage;
  private readonly entries = new Map<string, Entry>();
  private readonly bands = new Bands();
  private carrier: Drawn | undefined;
  private shownBands: readonly Band[] = [];
  private level: Level | undefined;
  private ruled: IPriceLine | undefined;
  private span: number | null = null;
  private touched = false;
  private readonly touch = (): void => {
    this.touched = true;
  };

  constructor(
    private readonly host: HTMLElement,
    options: StageOptions,
    private readonly read: (reading: Reading | undefined) => void,
  ) {
    this.stage = new Stage(host, options);
    this.stage.keepClear(
      () => this.tags(),
      (value) => this.first()?.drawn.priceToCoordinate(value) ?? null,
    );
    this.stage.paint((palette) => this.repaint(palette));
    this.stage.chart.timeScale().subscribeVisibleLogicalRangeChange(() => this.stage.refigure());
    this.stage.chart.subscribeCrosshairMove((event) => this.moved(event));
    host.addEventListener("pointerdown", this.touch);
    host.addEventListener("wheel", this.touch, { passive: true });
  }

  /**
   * Draws what is given. Points that only came behind the last ones are added, nothing else is drawn anew.
   * What is in sight moves along until a person has moved it.
   */
  show(series: readonly LineSeriesData[], bands: readonly Band[], level: Level | undefined): void {
    for (const id of [...this.entries.keys()]) {
      if (!series.some((one) => one.id === id)) this.remove(id);
    }
    this.level = level;
    for (const one of series) this.put(one);
    this.shownBands = bands;
    this.repaint(this.stage.palette);
    if (!this.touched) this.fit();
    this.stage.refigure();
  }

  /** Where tags stand on the scale: of the newest values in sight. */
  private tags(): number[] {
    const range = this.stage.chart.timeScale().getVisibleLogicalRange();
    return [...this.entries.values()].flatMap(({ data, drawn }) => {
      if (data.thin === true) return [];
      const value = data.values.slice(0, Math.floor(range?.to ?? 0) + 1).findLast((each) => each !== null);
      const height = value === undefined || value === null ? null : drawn.priceToCoordinate(value);
      return height === null ? [] : [height];
    });
  }

  /** Shows the last `span` milliseconds, or everything. */
  range(span: number | null): void {
    this.span = span;
    this.touched = false;
    this.fit();
  }

  private fit(): void {
    const { span } = this;
    const times = this.times();
    const last = times.at(-1);
    if (last === undefined) return;
    const first = Math.max(times[0] ?? last, span === null ? -Infinity : last - span);
    const scale = this.stage.chart.timeScale();
    if (span === null || first === times[0]) scale.fitContent();
    else scale.setVisibleRange({ from: seconds(first), to: seconds(last) });
  }

  /** Moves the crosshair to one point of the first series; for the keyboard. */
  walk(index: number): void {
    const entry = this.first();
    const time = entry?.data.times[index];
    const value = entry?.data.values[index];
    if (entry === undefined || time === undefined) return;
    this.stage.reveal(index);
    this.stage.chart.setCrosshairPosition(value ?? 0, seconds(time), entry.drawn);
    this.read(this.at(time));
  }

  leave(): void {
    this.stage.chart.clearCrosshairPosition();
    this.read(undefined);
  }

  dispose(): void {
    this.host.removeEventListener("pointerdown", this.touch);
    this.host.removeEventListener("wheel", this.touch);
    this.entries.clear();
    this.stage.dispose();
  }

  private first(): Entry | undefined {
    return this.entries.values().next().value;
  }

  private times(): readonly number[] {
    return this.first()?.data.times ?? [];
  }

  private at(time_ms: number): Reading {
    const values = [...this.entries.values()].map(({ data }) => {
      const index = data.times.indexOf(time_ms);
      return { id: data.id, value: data.values[index] ?? null };
    });
    return { time_ms, values };
  }

  private moved(event: MouseEventParams<Time>): void {
    const time_ms = milliseconds(event.time);
    if (time_ms === undefined || event.point === undefined) {
      this.read(undefined);
      return;
    }
    const values = [...this.entries.values()].map(({ data, drawn }) => {
      const point = event.seriesData.get(drawn);
      return { id: data.id, value: point !== undefined && "value" in point ? point.value : null };
    });
    this.read({ time_ms, values });
  }

  private put(data: LineSeriesData): void {
    const entry = this.entries.get(data.id);
    if (entry === undefined || entry.data.kind !== data.kind) {
      if (entry !== undefined) this.remove(data.id);
      const drawn = this.add(data);
      drawn.setData(points(data, 0));
      this.entries.set(data.id, { drawn, data });
      return;
    }
    const from = continuedFrom(entry.data, data);
    entry.data = data;
    if (from === undefined) entry.drawn.setData(points(data, 0));
    else for (const point of points(data, from)) entry.drawn.update(point);
  }

  private add(data: LineSeriesData): Drawn {
    const { chart } = this.stage;
    const common = { lastValueVisible: true, priceLineVisible: false, crosshairMarkerRadius: 3 } as const;
    const drawn =
      data.kind === "area"
        ? chart.addSeries(AreaSeries, common)
        : data.kind === "baseline"
          ? chart.addSeries(BaselineSeries, common)
          : chart.addSeries(LineSeries, common);
    if (this.carrier === undefined) {
      drawn.attachPrimitive(this.bands);
      this.carrier = drawn;
    }
    return drawn;
  }

  private remove(id: string): void {
    const entry = this.entries.get(id);
    if (entry === undefined) return;
    if (this.carrier === entry.drawn) {
      entry.drawn.detachPrimitive(this.bands);
      this.carrier = undefined;
      this.ruled = undefined;
    }
    this.stage.chart.removeSeries(entry.drawn);
    this.entries.delete(id);
  }

  private repaint(palette: Palette): void {
    for (const { drawn, data } of this.entries.values()) colour(drawn, data, palette, this.level);
    this.bands.show(
      this.shownBands.map((band) => ({
        start_ms: band.start_ms,
        end_ms: band.end_ms,
        fill: faded(palette.tones[band.tone], BAND_ALPHA),
      })),
    );
    this.rule(palette);
  }

  private rule(palette: Palette): void {
    if (this.carrier === undefined) {
      const next = this.first();
      if (next === undefined) return;
      next.drawn.attachPrimitive(this.bands);
      this.carrier = next.drawn;
    }
    if (this.level === undefined) {
      if (this.ruled !== undefined) this.carrier.removePriceLine(this.ruled);
      this.ruled = undefined;
      return;
    }
    const options = {
      price: this.level.value,
      title: this.level.label,
      color: palette.tones[this.level.tone ?? "muted"],
      lineWidth: 1 as const,
      lineStyle: LineStyle.Dashed,
      axisLabelVisible: false,
    };
    if (this.ruled === undefined) this.ruled = this.carrier.createPriceLine(options);
    else this.ruled.applyOptions(options);
  }
}

function points(data: LineSeriesData, from: number): Point[] {
  const out: Point[] = [];
  for (let index = from; index < data.times.length; index += 1) {
    const time = seconds(data.times[index] ?? 0);
    const value = data.values[index] ?? null;
    if (index > 0 && time <= seconds(data.times[index - 1] ?? 0)) continue;
    if (value === null) out.push({ time });
    else out.push({ time, value, ...(data.values[index + 1] === null ? UNDRAWN : {}) });
  }
  return out;
}

/** From which point on `now` differs, where it is `before` with a new last value or more points behind it. */
function continuedFrom(before: LineSeriesData, now: LineSeriesData): number | undefined {
  const last = before.times.length - 1;
  if (last < 0 || now.times.length <= last) return undefined;
  for (let index = 0; index <= last; index += 1) {
    if (before.times[index] !== now.times[index]) return undefined;
    if (index < last && before.values[index] !== now.values[index]) return undefined;
  }
  return last;
}

function colour(drawn: Drawn, data: LineSeriesData, palette: Palette, level: Level | undefined): void {
  const tone = palette.tones[data.tone];
  const lineStyle = data.dashed === true ? LineStyle.Dashed : LineStyle.Solid;
  const lineType = data.steps === true ? LineType.WithSteps : LineType.Simple;
  switch (data.kind) {
    case "area":
      drawn.applyOptions({
        lineColor: tone,
        lineWidth: 2,
        lineStyle,
        lineType,
        topColor: faded(tone, 0.22),
        bottomColor: faded(tone, 0),
      });
      return;
    case "baseline": {
      const { up, down } = palette.tones;
      drawn.applyOptions({
        baseValue: { type: "price", price: level?.value ?? 0 },
        lineWidth: 2,
        lineType,
        topLineColor: up,
        topFillColor1: faded(up, 0.22),
        topFillColor2: faded(up, 0.03),
        bottomLineColor: down,
        bottomFillColor1: faded(down, 0.03),
        bottomFillColor2: faded(down, 0.22),
      });
      return;
    }
    case "line":
      drawn.applyOptions({
        color: tone,
        lineWidth: data.thin === true ? 1 : 2,
        lineStyle,
        lineType,
        lastValueVisible: data.thin !== true,
        crosshairMarkerVisible: data.thin !== true,
      });
  }
}
