// The graph itself: what uPlot is told, for lines, for areas on top of each other, and for the heatmap of native histograms.
import uPlot from 'uplot';
import { parseNumber, short } from '../lib/format';
import { settings } from '../lib/settings';
import type { ExemplarSeries, Labels, MatrixItem } from '../lib/types';
import { heatColor, ink, seriesColor } from './colors';

export interface ChartInput {
  items: MatrixItem[];
  startMs: number;
  endMs: number;
  stepMs: number;
  mode: 'lines' | 'stacked' | 'heatmap';
  yMin: number | null;
  hidden: ReadonlySet<number>;
  exemplars: ExemplarSeries[];
}

/** What lies under the pointer. */
export interface Hover {
  x: number;
  y: number;
  atMs: number;
  color?: string;
  labels?: Labels;
  text: string;
  /** More labels, those of an exemplar. */
  more?: Labels;
}

export interface ChartEvents {
  onZoom(startMs: number, endMs: number): void;
  onHover(hover: Hover | null): void;
}

type Row = (number | null)[];

/** The grid of the query, in seconds, and every series on it. */
export function aligned(input: ChartInput): { xs: number[]; rows: Row[] } {
  const steps = Math.floor((input.endMs - input.startMs) / input.stepMs) + 1;
  const xs = Array.from({ length: steps }, (_, i) => (input.startMs + i * input.stepMs) / 1000);
  const rows = input.items.map((item) => {
    const row: Row = new Array<number | null>(steps).fill(null);
    for (const [at, text] of item.values ?? []) {
      const value = parseNumber(text);
      const index = Math.round((at * 1000 - input.startMs) / input.stepMs);
      if (index >= 0 && index < steps && Number.isFinite(value)) row[index] = value;
    }
    return row;
  });
  return { xs, rows };
}

/** Each row plus all before it, so that areas lie on each other. A hole counts as nothing; where all rows have one, there is one. */
export function stacked(rows: Row[], hidden: ReadonlySet<number>): Row[] {
  const sums: Row = new Array<number | null>(rows[0]?.length ?? 0).fill(null);
  const some = sums.map((_, x) => rows.some((row, i) => !hidden.has(i) && row[x] !== null));
  return rows.map((row, i) =>
    hidden.has(i) ? row.map(() => null) : row.map((value, x) => (some[x] ? (sums[x] = (sums[x] ?? 0) + (value ?? 0)) : null)),
  );
}

function axes(colors: ReturnType<typeof ink>, values?: uPlot.Axis.Values): uPlot.Axis[] {
  const font = '11px system-ui, sans-serif';
  const common = { stroke: colors.muted, font, grid: { stroke: colors.line, width: 1 }, ticks: { stroke: colors.line, width: 1, size: 5 } };
  const wide = (_u: uPlot, labels: string[] | null) => Math.max(44, 14 + 6.6 * Math.max(0, ...(labels ?? []).map((l) => l.length)));
  return [
    { ...common, space: 84, size: 36, values: timeLabels },
    { ...common, size: wide, values: values ?? ((_u, splits) => splits.map(short)) },
  ];
}

const two = (n: number) => String(n).padStart(2, '0');

/** Hours and minutes, with seconds where the distance asks for them, and the day at the left edge and wherever it changes. */
function timeLabels(_u: uPlot, splits: number[], _axis: number, _space: number, distance: number): string[] {
  const zone = settings.get().utc ? 'Etc/UTC' : undefined;
  let before = '';
  return splits.map((seconds) => {
    const at = zone ? uPlot.tzDate(new Date(seconds * 1000), zone) : new Date(seconds * 1000);
    const day = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
    const time = `${two(at.getHours())}:${two(at.getMinutes())}${distance < 60 ? `:${two(at.getSeconds())}` : ''}`;
    const label = distance >= 86_400 ? day : day === before ? time : `${time}\n${day}`;
    before = day;
    return label;
  });
}

/** A stretch that the user drew becomes the new range. */
function zoomHook(events: ChartEvents) {
  return (u: uPlot) => {
    if (u.select.width < 4) return;
    const from = u.posToVal(u.select.left, 'x');
    const to = u.posToVal(u.select.left + u.select.width, 'x');
    u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
    if (to - from >= 1) events.onZoom(Math.round(from) * 1000, Math.round(to) * 1000);
  };
}

function base(input: ChartInput, width: number, height: number, events: ChartEvents): Omit<uPlot.Options, 'series'> {
  return {
    width,
    height,
    legend: { show: false },
    padding: [10, 12, 0, 0],
    tzDate: settings.get().utc ? (seconds) => uPlot.tzDate(new Date(seconds * 1000), 'Etc/UTC') : undefined,
    cursor: { drag: { x: true, y: false, setScale: false }, points: { show: false }, y: false, bind: { dblclick: () => null } },
    hooks: { setSelect: [zoomHook(events)] },
    scales: { x: { time: true, auto: false, range: [input.startMs / 1000, input.endMs / 1000] } },
  };
}

interface Dot {
  at: number;
  value: number;
  labels: Labels;
  series: Labels;
}

export function lineChart(element: HTMLElement, input: ChartInput, width: number, height: number, events: ChartEvents): uPlot {
  const colors = ink();
  const { xs, rows } = aligned(input);
  const isStacked = input.mode === 'stacked';
  const drawn = isStacked ? stacked(rows, input.hidden) : rows;
  const color = (i: number) => seriesColor(i, colors.dark);
  // Areas are drawn from the top one down.
  const order = rows.map((_, i) => i);
  if (isStacked) order.reverse();
  // Each area ends at the line of the next one below it that is shown.
  const seen = order.filter((i) => !input.hidden.has(i));
  const bands = isStacked ? seen.slice(0, -1).map((i, n) => ({ series: [order.indexOf(i) + 1, order.indexOf(seen[n + 1] ?? i) + 1] as [number, number] })) : undefined;
  const few = rows.length <= 80;
  const dots: Dot[] = input.exemplars.flatMap((s) =>
    s.exemplars
      .map((e) => ({ at: e.timestamp, value: parseNumber(e.value), labels: e.labels, series: s.seriesLabels }))
      .filter((d) => Number.isFinite(d.value) && d.at * 1000 >= input.startMs && d.at * 1000 <= input.endMs),
  );
  const top = Math.max(0, ...dots.map((d) => d.value)) || 1;
  const options: uPlot.Options = {
    ...base(input, width, height, events),
    series: [
      {},
      ...order.map((i) => {
        const alone = isolatedPoints(drawn[i] ?? []);
        return {
          scale: 'y',
          show: !input.hidden.has(i),
          stroke: color(i),
          width: isStacked ? 1 : rows.length > 40 ? 1 : 1.5,
          fill: isStacked ? color(i).replace(')', ' / 0.55)') : undefined,
          spanGaps: false,
          points: { show: alone, size: 4, fill: color(i), stroke: color(i) },
        } satisfies uPlot.Series;
      }),
    ],
    focus: { alpha: few ? 0.25 : 1 },
    bands,
    axes: axes(colors),
  };
  options.scales = {
    ...options.scales,
    y: {
      range: (_u, low, high) => {
        if (low === null || high === null) return [0, 1];
        let from = isStacked ? Math.min(0, low) : low;
        if (input.yMin !== null) from = input.yMin;
        if (from === high) {
          const room = Math.abs(from) * 0.1 || 1;
          return input.yMin !== null ? [from, high + room] : [from - room, high + room];
        }
        const room = (high - from) * 0.06;
        // Values that reach down near zero look best on a floor of zero.
        const floor = input.yMin === null && from > 0 && from - room < 0 ? 0 : from - (from === 0 || input.yMin !== null ? 0 : room);
        return [floor, high + room];
      },
    },
  };
  if (dots.length > 0) {
    options.scales.e = { auto: false, range: [0, top * 1.06] };
    const [, y] = options.axes ?? [];
    options.axes?.push({ ...y, scale: 'e', side: 1, grid: { show: false }, label: 'exemplars', labelSize: 14, labelFont: '11px system-ui', size: 46 });
    options.hooks = { ...options.hooks, draw: [(u) => drawDots(u, dots, colors.accent)] };
  }
  const data = [xs, ...order.map((i) => drawn[i] ?? [])] as uPlot.AlignedData;
  let focused = -1;
  options.hooks = {
    ...options.hooks,
    setCursor: [
      (u) => {
        const { left = -1, top: y = -1, idx } = u.cursor;
        if (left < 0 || idx == null) {
          focused = -1;
          events.onHover(null);
          return;
        }
        const dot = nearestDot(u, dots, left, y);
        if (dot) {
          events.onHover({ x: left, y, atMs: dot.at * 1000, color: colors.accent, labels: dot.series, text: short(dot.value), more: dot.labels });
          return;
        }
        let best = -1;
        let distance = Infinity;
        order.forEach((i, place) => {
          const value = data[place + 1]?.[idx];
          // A hole of an area has a height, but no value.
          if (value == null || rows[i]?.[idx] == null || input.hidden.has(i)) return;
          const away = Math.abs(u.valToPos(value, 'y') - y);
          if (away < distance) [best, distance] = [place, away];
        });
        if (best !== focused) {
          focused = best;
          if (few) u.setSeries(best < 0 ? null : best + 1, { focus: true });
        }
        const at = (xs[idx] ?? 0) * 1000;
        const i = order[best];
        if (i === undefined) events.onHover({ x: left, y, atMs: at, text: 'no value here' });
        else events.onHover({ x: left, y, atMs: at, color: color(i), labels: input.items[i]?.metric, text: String(rows[i]?.[idx]) });
      },
    ],
  };
  return new uPlot(options, data, element);
}

/** Is there a value between two holes? Lines do not show it. */
function isolatedPoints(row: Row): boolean {
  return row.some((value, i) => value !== null && (row[i - 1] ?? null) === null && (row[i + 1] ?? null) === null);
}

function drawDots(u: uPlot, dots: Dot[], color: string) {
  const { ctx } = u;
  const size = 4 * devicePixelRatio;
  ctx.save();
  ctx.fillStyle = color;
  for (const dot of dots) {
    const x = u.valToPos(dot.at, 'x', true);
    const y = u.valToPos(dot.value, 'e', true);
    ctx.beginPath();
    ctx.moveTo(x, y - size);
    ctx.lineTo(x + size, y);
    ctx.lineTo(x, y + size);
    ctx.lineTo(x - size, y);
    ctx.fill();
  }
  ctx.restore();
}

function nearestDot(u: uPlot, dots: Dot[], left: number, top: number): Dot | undefined {
  let best: Dot | undefined;
  let distance = 9;
  for (const dot of dots) {
    const away = Math.hypot(u.valToPos(dot.at, 'x') - left, u.valToPos(dot.value, 'e') - top);
    if (away < distance) [best, distance] = [dot, away];
  }
  return best;
}

interface Cell {
  x: number;
  low: number;
  high: number;
  count: number;
}

/**
 * Native histograms as a heatmap. The y axis counts the boundaries that occur, in order, so that exponential, custom and negative buckets
 * all get room; cells of several series at one place are added up.
 */
export function heatCells(input: ChartInput): { bounds: number[]; cells: Cell[] } {
  const bounds = new Set<number>();
  const sums = new Map<string, Cell>();
  input.items.forEach((item, i) => {
    if (input.hidden.has(i)) return;
    for (const [at, histogram] of item.histograms ?? []) {
      const x = Math.round((at * 1000 - input.startMs) / input.stepMs);
      for (const [, lowText, highText, countText] of histogram.buckets ?? []) {
        const [low, high, count] = [parseNumber(lowText), parseNumber(highText), parseNumber(countText)];
        if (!(count > 0)) continue;
        bounds.add(low).add(high);
        const key = `${x}/${low}/${high}`;
        const cell = sums.get(key);
        if (cell) cell.count += count;
        else sums.set(key, { x, low, high, count });
      }
    }
  });
  return { bounds: [...bounds].sort((a, b) => a - b), cells: [...sums.values()] };
}

export function heatChart(element: HTMLElement, input: ChartInput, width: number, height: number, events: ChartEvents): uPlot {
  const colors = ink();
  const { bounds, cells } = heatCells(input);
  const indexOf = new Map(bounds.map((bound, i) => [bound, i]));
  const most = Math.max(0, ...cells.map((c) => c.count));
  const { xs } = aligned({ ...input, items: [] });
  const options: uPlot.Options = {
    ...base(input, width, height, events),
    series: [{}, { scale: 'y', show: false }],
    axes: axes(colors, (_u, splits) => splits.map((i) => (Number.isInteger(i) && bounds[i] !== undefined ? short(bounds[i]) : ''))),
  };
  options.scales = { ...options.scales, y: { auto: false, range: [0, Math.max(1, bounds.length - 1)] } };
  const cellAt = (x: number, y: number) =>
    cells.find((c) => c.x === x && (indexOf.get(c.low) ?? 0) <= y && y < (indexOf.get(c.high) ?? 0));
  options.hooks = {
    ...options.hooks,
    draw: [
      (u) => {
        const { ctx, bbox } = u;
        ctx.save();
        ctx.beginPath();
        ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
        ctx.clip();
        const half = input.stepMs / 2000;
        for (const cell of cells) {
          const at = xs[cell.x];
          if (at === undefined) continue;
          const left = Math.floor(u.valToPos(at - half, 'x', true));
          const right = Math.ceil(u.valToPos(at + half, 'x', true));
          const top = Math.floor(u.valToPos(indexOf.get(cell.high) ?? 0, 'y', true));
          const bottom = Math.ceil(u.valToPos(indexOf.get(cell.low) ?? 0, 'y', true));
          // The eye needs help with small counts beside large ones.
          ctx.fillStyle = heatColor(Math.sqrt(cell.count / most), colors.dark);
          ctx.fillRect(left, top, right - left, Math.max(1, bottom - top));
        }
        ctx.restore();
      },
    ],
    setCursor: [
      (u) => {
        const { left = -1, top = -1, idx } = u.cursor;
        if (left < 0 || idx == null) return events.onHover(null);
        const cell = cellAt(idx, Math.floor(u.posToVal(top, 'y')));
        const text = cell ? `${short(cell.count)} between ${short(cell.low)} and ${short(cell.high)}` : 'nothing here';
        events.onHover({ x: left, y: top, atMs: (xs[idx] ?? 0) * 1000, color: cell && heatColor(Math.sqrt(cell.count / most), colors.dark), text });
      },
    ],
  };
  return new uPlot(options, [xs, xs.map(() => null)], element);
}
