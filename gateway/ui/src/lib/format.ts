// Numbers, sizes and series as text.
import type { Labels } from './types';

const GROUPED = new Intl.NumberFormat('en-US');
export const count = (n: number) => (Number.isFinite(n) ? GROUPED.format(n) : '–');

export function bytes(n: number): string {
  if (!Number.isFinite(n)) return '–';
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
  let i = 0;
  while (n >= 1024 && i < units.length - 1) {
    n /= 1024;
    i++;
  }
  return `${i === 0 ? n : n.toFixed(n < 10 ? 2 : n < 100 ? 1 : 0)} ${units[i]}`;
}

/** A number for an axis or a legend: `1.5k`, `3M`, `2m`. */
export function short(n: number): string {
  if (n === 0) return '0';
  if (!Number.isFinite(n)) return n > 0 ? '+Inf' : n < 0 ? '-Inf' : 'NaN';
  const size = Math.abs(n);
  for (const [unit, value] of [['Y', 1e24], ['Z', 1e21], ['E', 1e18], ['P', 1e15], ['T', 1e12], ['G', 1e9], ['M', 1e6], ['k', 1e3]] as const) {
    if (size >= value) return `${+(n / value).toPrecision(4)}${unit}`;
  }
  if (size >= 0.01) return String(+n.toPrecision(4));
  for (const [unit, value] of [['m', 1e-3], ['µ', 1e-6], ['n', 1e-9]] as const) {
    if (size >= value) return `${+(n / value).toPrecision(4)}${unit}`;
  }
  return n.toExponential(2);
}

/** A number of the API: `NaN`, `+Inf` and so on included. */
export function parseNumber(text: string): number {
  if (text === '+Inf' || text === 'Inf') return Infinity;
  if (text === '-Inf') return -Infinity;
  return Number(text);
}

const LEGACY_METRIC = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/;
const LEGACY_LABEL = /^[a-zA-Z_][a-zA-Z0-9_]*$/;

/** A string of PromQL. */
export const quoted = (text: string) => `"${text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')}"`;
export const labelName = (name: string) => (LEGACY_LABEL.test(name) ? name : quoted(name));

/** A series, or a selector of it, as PromQL. */
export function seriesText(labels: Labels): string {
  const name = labels.__name__;
  const pairs = Object.entries(labels).filter(([n]) => n !== '__name__').map(([n, v]) => `${labelName(n)}=${quoted(v)}`);
  if (name !== undefined && !LEGACY_METRIC.test(name)) return `{${[quoted(name), ...pairs].join(', ')}}`;
  if (pairs.length === 0) return name ?? '{}';
  return `${name ?? ''}{${pairs.join(', ')}}`;
}

/** A selector of all series of a metric. */
export const metricSelector = (name: string) => seriesText({ __name__: name });
