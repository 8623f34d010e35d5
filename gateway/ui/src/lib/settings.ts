// What a user prefers, kept in this browser. A browser that keeps nothing works all the same.
import { store } from './store';

export interface Settings {
  theme: 'auto' | 'light' | 'dark';
  utc: boolean;
  complete: boolean;
  lint: boolean;
}

const KEY = 'ferula.settings';
const HISTORY_KEY = 'ferula.history';
/** Queries remembered; the oldest goes first. */
const HISTORY_MAX = 100;

function read<T>(key: string, fallback: T): T {
  try {
    const text = localStorage.getItem(key);
    return text === null ? fallback : (JSON.parse(text) as T);
  } catch {
    return fallback;
  }
}

function write(key: string, value: unknown) {
  try {
    localStorage.setItem(key, JSON.stringify(value));
  } catch {
    // Private windows and full disks: the preference lasts as long as the page.
  }
}

export const settings = store<Settings>({ theme: 'auto', utc: false, complete: true, lint: true, ...read<Partial<Settings>>(KEY, {}) });

export function change(patch: Partial<Settings>) {
  const next = { ...settings.get(), ...patch };
  settings.set(next);
  write(KEY, next);
}

const applyTheme = (value: Settings) => (document.documentElement.dataset.theme = value.theme);
settings.watch(applyTheme);

const remembered = read<unknown>(HISTORY_KEY, []);
export const history = store<string[]>(Array.isArray(remembered) ? remembered.filter((q): q is string => typeof q === 'string') : []);

export function remember(query: string) {
  const text = query.trim();
  if (!text) return;
  const next = [text, ...history.get().filter((q) => q !== text)].slice(0, HISTORY_MAX);
  history.set(next);
  write(HISTORY_KEY, next);
}

export function forgetAll() {
  history.set([]);
  write(HISTORY_KEY, []);
}
