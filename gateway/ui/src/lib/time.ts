// Durations as Prometheus writes them, and moments in local time or UTC.
import { settings } from './settings';

const UNITS: [string, number][] = [
  ['y', 365 * 86_400_000],
  ['w', 7 * 86_400_000],
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['m', 60_000],
  ['s', 1000],
  ['ms', 1],
];

/** Milliseconds of `1h30m`; undefined when it is not a duration or is empty. */
export function parseDuration(text: string): number | undefined {
  const found = /^\s*((\d+)y)?((\d+)w)?((\d+)d)?((\d+)h)?((\d+)m)?((\d+)s)?((\d+)ms)?\s*$/.exec(text);
  if (!found || text.trim() === '') return undefined;
  return UNITS.reduce((sum, [, size], i) => sum + Number(found[2 * i + 2] ?? 0) * size, 0);
}

/** `1h30m` for 5,400,000. */
export function formatDuration(ms: number): string {
  if (ms <= 0) return '0s';
  let rest = Math.round(ms);
  let out = '';
  for (const [unit, size] of UNITS) {
    // Years and weeks only where nothing is left over, as Prometheus does.
    if ((unit === 'y' || unit === 'w') && rest % size !== 0) continue;
    const count = Math.floor(rest / size);
    if (count > 0) out += `${count}${unit}`;
    rest -= count * size;
  }
  return out;
}

/** Seconds for people: `1.2 ms`, `14 s`, `2m 5s`. */
export function humanSeconds(seconds: number): string {
  if (!Number.isFinite(seconds)) return '–';
  if (seconds === 0) return '0 s';
  if (seconds < 1e-3) return `${(seconds * 1e6).toPrecision(3).replace(/\.0+$/, '')} µs`;
  if (seconds < 1) return `${+(seconds * 1e3).toPrecision(3)} ms`;
  if (seconds < 60) return `${+seconds.toPrecision(3)} s`;
  const whole = Math.round(seconds);
  const parts: [number, string][] = [
    [Math.floor(whole / 86400), 'd'],
    [Math.floor(whole / 3600) % 24, 'h'],
    [Math.floor(whole / 60) % 60, 'm'],
    [whole % 60, 's'],
  ];
  const first = parts.findIndex(([n]) => n > 0);
  return parts.slice(first, first + 2).filter(([n]) => n > 0).map(([n, unit]) => `${n}${unit}`).join(' ');
}

const two = (n: number) => String(n).padStart(2, '0');

/** `2026-11-22 01:10:05`, in the zone that the user chose or in UTC. */
export function formatMoment(ms: number, utc = settings.get().utc, fraction = false): string {
  if (!Number.isFinite(ms)) return '–';
  const at = new Date(utc ? ms : ms - new Date(ms).getTimezoneOffset() * 60_000);
  if (Number.isNaN(at.getTime())) return '–';
  const day = `${at.getUTCFullYear()}-${two(at.getUTCMonth() + 1)}-${two(at.getUTCDate())}`;
  const tail = fraction && ms % 1000 !== 0 ? `.${String(Math.abs(Math.round(ms % 1000))).padStart(3, '0')}` : '';
  return `${day} ${two(at.getUTCHours())}:${two(at.getUTCMinutes())}:${two(at.getUTCSeconds())}${tail}`;
}

/** Reads `2026-11-22 01:10[:05]`, RFC 3339, Unix seconds, `now-1h`; undefined when it is none of them. */
export function parseMoment(text: string, utc = settings.get().utc): number | undefined {
  const trimmed = text.trim();
  const relative = /^now\s*(?:-\s*(.+))?$/.exec(trimmed);
  if (relative) {
    const back = relative[1] === undefined ? 0 : parseDuration(relative[1]);
    return back === undefined ? undefined : Date.now() - back;
  }
  if (/^\d{9,10}(\.\d+)?$/.test(trimmed)) return Math.round(Number(trimmed) * 1000);
  const wall = /^(\d{4})-(\d\d?)-(\d\d?)(?:[ T](\d\d?):(\d\d)(?::(\d\d)(?:\.\d+)?)?)?$/.exec(trimmed);
  if (wall) {
    const [y, mo, d, h, mi, s] = wall.slice(1).map((part) => Number(part ?? 0)) as [number, number, number, number, number, number];
    const at = utc ? Date.UTC(y, mo - 1, d, h, mi, s) : new Date(y, mo - 1, d, h, mi, s).getTime();
    return Number.isNaN(at) ? undefined : at;
  }
  const at = Date.parse(trimmed);
  return /\d{4}-\d\d-\d\dT/.test(trimmed) && !Number.isNaN(at) ? at : undefined;
}

/** Go's zero time means never. */
export const isNever = (rfc3339: string | undefined) => !rfc3339 || rfc3339.startsWith('0001-');

/** `12 s ago`, `never`. */
export function ago(rfc3339: string | undefined, now = Date.now()): string {
  if (isNever(rfc3339)) return 'never';
  const seconds = (now - Date.parse(rfc3339 ?? '')) / 1000;
  if (Number.isNaN(seconds)) return '–';
  if (seconds < 1) return 'just now';
  return `${humanSeconds(seconds < 60 ? Math.round(seconds) : seconds)} ago`;
}
