// The graph of a panel: chart, legend, what is under the pointer.
import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import type uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import { count } from '../lib/format';
import { settings } from '../lib/settings';
import { formatMoment } from '../lib/time';
import type { ExemplarSeries, MatrixItem } from '../lib/types';
import { LabelPlates, Series, useLimited } from '../parts/parts';
import { heatChart, lineChart, type Hover } from './chart';
import { ink, seriesColor } from './colors';
import type { Mode } from './panel-state';

export interface GraphProps {
  items: MatrixItem[];
  startMs: number;
  endMs: number;
  stepMs: number;
  mode: Mode;
  yMin: number | null;
  exemplars: ExemplarSeries[];
  onZoom: (startMs: number, endMs: number) => void;
}

/** Changes when the colours do, by choice or with the system's. */
export function useThemeRound(): number {
  const [round, setRound] = useState(0);
  useEffect(() => {
    const next = () => setRound((n) => n + 1);
    const media = matchMedia('(prefers-color-scheme: dark)');
    media.addEventListener('change', next);
    const unwatch = settings.watch(next);
    return () => {
      media.removeEventListener('change', next);
      unwatch();
    };
  }, []);
  return round;
}

/** Series that are drawn; a picture of more says nothing, and browsers suffer. */
const SERIES_MAX = 2000;

export function Graph(given: GraphProps) {
  const items = useMemo(() => given.items.slice(0, SERIES_MAX), [given.items]);
  return (
    <>
      {given.items.length > SERIES_MAX && (
        <p class="note warn drawn">
          The first {count(SERIES_MAX)} of {count(given.items.length)} series are drawn. Narrow the selectors, or aggregate.
        </p>
      )}
      <Drawing {...given} items={items} />
    </>
  );
}

function Drawing(props: GraphProps) {
  const place = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | undefined>(undefined);
  const [hover, setHover] = useState<Hover | null>(null);
  const [hidden, setHidden] = useState<ReadonlySet<number>>(new Set());
  const theme = useThemeRound();
  const zoom = useRef(props.onZoom);
  zoom.current = props.onZoom;
  useEffect(() => setHidden(new Set()), [props.items]);
  useEffect(() => {
    const element = place.current;
    if (!element) return;
    const make = props.mode === 'heatmap' ? heatChart : lineChart;
    const events = { onZoom: (a: number, b: number) => zoom.current(a, b), onHover: setHover };
    const chart = make(element, { ...props, hidden }, element.clientWidth, element.clientHeight, events);
    plot.current = chart;
    const resize = new ResizeObserver(() => chart.setSize({ width: element.clientWidth, height: element.clientHeight }));
    resize.observe(element);
    return () => {
      resize.disconnect();
      chart.destroy();
    };
  }, [props.items, props.mode, props.yMin, props.exemplars, props.startMs, props.endMs, props.stepMs, hidden, theme]);
  return (
    <figure class="graph">
      <div class="plot" ref={place} role="img" aria-label={`Graph of ${props.items.length} series`}>
        {hover && <Tip hover={hover} width={place.current?.clientWidth ?? 0} offset={plot.current?.over.offsetLeft ?? 0} />}
      </div>
      {props.mode === 'heatmap' ? <HeatLegend items={props.items} /> : <Legend items={props.items} hidden={hidden} setHidden={setHidden} plot={plot} stacked={props.mode === 'stacked'} />}
    </figure>
  );
}

function Tip({ hover, width, offset }: { hover: Hover; width: number; offset: number }) {
  const x = hover.x + offset;
  const side = x > width / 2 ? { right: `${width - x + 14}px`, maxWidth: `${Math.min(420, x - 14)}px` } : { left: `${x + 14}px`, maxWidth: `${Math.min(420, width - x - 14)}px` };
  return (
    <div class="tip" style={{ ...side, top: `${Math.max(4, hover.y - 12)}px` }}>
      <div class="muted">{formatMoment(hover.atMs, undefined, true)}</div>
      <div class="tip-value">
        {hover.color && <i class="swatch" style={{ background: hover.color }} />}
        <strong>{hover.text}</strong>
      </div>
      {hover.labels && <Series labels={hover.labels} />}
      {hover.more && <LabelPlates labels={hover.more} />}
    </div>
  );
}

function HeatLegend({ items }: { items: MatrixItem[] }) {
  return (
    <figcaption class="legend-note">
      <span class="heat-scale" aria-hidden="true" />
      <span class="muted">
        few to many observations{items.length > 1 ? `, the sum of ${items.length} series` : ''}
      </span>
    </figcaption>
  );
}

function Legend(props: {
  items: MatrixItem[];
  hidden: ReadonlySet<number>;
  setHidden: (hidden: ReadonlySet<number>) => void;
  plot: { current: uPlot | undefined };
  stacked: boolean;
}) {
  const { items, hidden, setHidden } = props;
  const dark = ink().dark;
  const [shown, more] = useLimited(items, 50);
  const click = (i: number, one: boolean) => {
    const next = new Set(hidden);
    if (one) {
      if (!next.delete(i)) next.add(i);
    } else if (hidden.size === items.length - 1 && !hidden.has(i)) {
      next.clear();
    } else {
      next.clear();
      items.forEach((_, k) => k !== i && next.add(k));
    }
    setHidden(next);
  };
  const focus = (i: number | null) => {
    if (items.length > 80) return;
    const place = i === null ? null : props.stacked ? items.length - i : i + 1;
    props.plot.current?.setSeries(place, { focus: true });
  };
  return (
    <figcaption>
      <ul class="legend" onMouseLeave={() => focus(null)}>
        {shown.map((item, i) => (
          <li key={i}>
            <button
              type="button"
              aria-pressed={!hidden.has(i)}
              title="Click: only this one. Ctrl-click: hide or show it."
              onMouseEnter={() => focus(i)}
              onClick={(e) => click(i, e.ctrlKey || e.metaKey || e.shiftKey)}
            >
              <i class="swatch" style={{ background: seriesColor(i, dark) }} />
              <Series labels={item.metric} />
            </button>
          </li>
        ))}
      </ul>
      {more}
    </figcaption>
  );
}
