// The panels of the query page, and how the address names them: the parameter names are those of Prometheus's UI, so that links of
// alerts, runbooks and dashboards go on working.
import { formatDuration, formatMoment, parseDuration, parseMoment } from '../lib/time';

export type Tab = 'table' | 'graph' | 'explain';
export type Mode = 'lines' | 'stacked' | 'heatmap';
export type Density = 'low' | 'medium' | 'high';
export type Resolution = { type: 'auto'; density: Density } | { type: 'fixed' | 'custom'; stepMs: number };

export interface PanelState {
  id: number;
  /** What was last asked; the editor may hold something newer. */
  expr: string;
  tab: Tab;
  /** End of the range, or the moment of the table; null is now. */
  endMs: number | null;
  rangeMs: number;
  resolution: Resolution;
  mode: Mode;
  exemplars: boolean;
  yMin: number | null;
  /** Explain one moment, not the range; not part of the address. */
  explainMoment: boolean;
  /** Counts the times that the user asked for an answer. */
  run: number;
}

let lastId = 0;

export function newPanel(patch: Partial<PanelState> = {}): PanelState {
  return {
    id: ++lastId,
    expr: '',
    tab: 'table',
    endMs: null,
    rangeMs: 3_600_000,
    resolution: { type: 'auto', density: 'medium' },
    mode: 'lines',
    exemplars: false,
    yMin: null,
    explainMoment: false,
    run: 0,
    ...patch,
  };
}

function resolutionOf(get: (name: string) => string | null): Resolution | undefined {
  const type = get('res_type');
  const density = get('res_density');
  const seconds = Number(get('res_step'));
  if (type === 'auto' && (density === 'low' || density === 'medium' || density === 'high')) return { type, density };
  if ((type === 'fixed' || type === 'custom') && seconds > 0) return { type, stepMs: seconds * 1000 };
  // The older name.
  const step = parseInt(get('step_input') ?? '', 10);
  return step > 0 ? { type: 'custom', stepMs: step * 1000 } : undefined;
}

export function panelsOf(search: string): PanelState[] {
  const params = new URLSearchParams(search);
  const panels: PanelState[] = [];
  for (let i = 0; params.has(`g${i}.expr`); i++) {
    const get = (name: string) => params.get(`g${i}.${name}`);
    const panel = newPanel({ expr: get('expr') ?? '' });
    const tab = get('tab');
    if (tab === '0' || tab === 'graph') panel.tab = 'graph';
    else if (tab === 'explain') panel.tab = 'explain';
    const mode = get('display_mode');
    if (mode === 'lines' || mode === 'stacked' || mode === 'heatmap') panel.mode = mode;
    else if (get('stacked') === '1') panel.mode = 'stacked';
    const yMin = get('y_axis_min');
    if (yMin !== null && yMin !== '' && Number.isFinite(Number(yMin))) panel.yMin = Number(yMin);
    panel.exemplars = get('show_exemplars') === '1';
    panel.rangeMs = parseDuration(get('range_input') ?? '') || panel.rangeMs;
    panel.endMs = parseMoment(get('moment_input') ?? get('end_input') ?? '', true) ?? null;
    panel.resolution = resolutionOf(get) ?? panel.resolution;
    panels.push(panel);
  }
  return panels;
}

export function searchOf(panels: PanelState[]): string {
  const params = new URLSearchParams();
  panels.forEach((panel, i) => {
    const set = (name: string, value: string) => params.append(`g${i}.${name}`, value);
    set('expr', panel.expr);
    set('tab', panel.tab);
    if (panel.endMs !== null) {
      const moment = formatMoment(panel.endMs, true);
      set('end_input', moment);
      set('moment_input', moment);
    }
    set('range_input', formatDuration(panel.rangeMs));
    set('res_type', panel.resolution.type);
    if (panel.resolution.type === 'auto') set('res_density', panel.resolution.density);
    else set('res_step', String(panel.resolution.stepMs / 1000));
    set('display_mode', panel.mode);
    if (panel.yMin !== null) set('y_axis_min', String(panel.yMin));
    set('show_exemplars', panel.exemplars ? '1' : '0');
  });
  return params.toString();
}

/** Points per graph for each density. */
const POINTS = { low: 100, medium: 250, high: 1000 };
/** The server's own limit. */
export const POINTS_MAX = 11_000;

/** Distance of two evaluations, whole seconds where it is chosen for the user. */
export function stepMs(panel: PanelState): number {
  if (panel.resolution.type !== 'auto') return panel.resolution.stepMs;
  return Math.max(1, Math.floor(panel.rangeMs / 1000 / POINTS[panel.resolution.density])) * 1000;
}

/** Ranges that the buttons step through. */
const RANGES = [
  1_000, 10_000, 60_000, 300_000, 900_000, 1_800_000, 3_600_000, 7_200_000, 21_600_000, 43_200_000, 86_400_000, 172_800_000, 604_800_000,
  1_209_600_000, 2_419_200_000, 4_838_400_000, 15_724_800_000, 31_536_000_000, 63_072_000_000,
];

export const shorterRange = (ms: number) => RANGES.findLast((range) => range < ms) ?? ms;
export const longerRange = (ms: number) => RANGES.find((range) => range > ms) ?? ms;
