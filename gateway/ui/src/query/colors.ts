// Colours of series, and those of the theme as a canvas needs them.

/** Hues far apart in this order; further series repeat them lighter and darker. */
const HUES = [232, 48, 152, 18, 300, 95, 195, 345, 265, 120];

export function seriesColor(index: number, dark: boolean): string {
  const hue = HUES[index % HUES.length] ?? 0;
  const round = Math.floor(index / HUES.length) % 3;
  const light = (dark ? [0.76, 0.64, 0.86] : [0.56, 0.44, 0.68])[round];
  const chroma = [0.135, 0.11, 0.1][round];
  return `oklch(${light} ${chroma} ${hue + Math.floor(index / (HUES.length * 3)) * 9})`;
}

/** From few to many, for heatmaps: dark on light paper, light on dark. */
export function heatColor(share: number, dark: boolean): string {
  const t = Math.max(0, Math.min(1, share));
  return dark ? `oklch(${0.3 + 0.58 * t} ${0.06 + 0.09 * t} ${215 - 130 * t})` : `oklch(${0.93 - 0.55 * t} ${0.05 + 0.1 * t} ${95 + 130 * t})`;
}

export interface Ink {
  text: string;
  muted: string;
  line: string;
  accent: string;
  dark: boolean;
}

/** The colours in force, as the browser computes them. */
export function ink(): Ink {
  const probe = document.createElement('span');
  document.body.append(probe);
  const read = (name: string) => {
    probe.style.color = `var(${name})`;
    return getComputedStyle(probe).color;
  };
  const colors = { text: read('--text'), muted: read('--muted'), line: read('--line'), accent: read('--accent') };
  probe.style.color = 'light-dark(rgb(1, 1, 1), rgb(2, 2, 2))';
  const dark = getComputedStyle(probe).color === 'rgb(2, 2, 2)';
  probe.remove();
  return { ...colors, dark };
}
