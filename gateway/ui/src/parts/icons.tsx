// The icons: one stroke width, 16 by 16.
const PATHS = {
  query: 'M2.5 4.5 6 8l-3.5 3.5M8 12h5.5',
  metrics: 'M2 13h12M3.5 13V8M7 13V3.5M10.5 13V6.5M13.5 13v-3',
  cardinality: 'M8 2.2 13.5 5 8 7.8 2.5 5 8 2.2ZM2.5 8 8 10.8 13.5 8M2.5 11 8 13.8 13.5 11',
  alerts: 'M8 2a4 4 0 0 1 4 4c0 3.5 1.5 4.5 1.5 5.5h-11C2.5 10.500 4 9.500 4 6a4 4 0 0 1 4-4ZM6.500 13.800h3',
  rules: 'M3 3.500h10M3 8h10M3 12.500h6',
  managers: 'M2.500 4h11v8h-11zM2.500 4.500 8 9l5.500-4.500',
  targets: 'M8 2.200a5.800 5.800 0 1 0 0 11.600A5.800 5.800 0 0 0 8 2.200ZM8 5.500a2.500 2.500 0 1 0 0 5 2.500 2.500 0 0 0 0-5Z',
  discovery: 'M7 2.500a4.500 4.500 0 1 0 0 9 4.500 4.500 0 0 0 0-9ZM10.300 10.300 14 14',
  push: 'M8 10.500v-8M4.800 5.500 8 2.300l3.200 3.200M2.500 10v3.500h11V10',
  queries: 'M8 2.200a5.800 5.800 0 1 0 0 11.600A5.800 5.800 0 0 0 8 2.200ZM8 4.800V8l2.300 1.600',
  status: 'M1.800 8.500h3L6.500 3.500l3 9 1.700-4h3',
  flags: 'M3.500 14V2.500M3.500 3h8.500l-2 2.800 2 2.700H3.500',
  config: 'M4 2.500h5.500L12.500 5.500v8H4zM9.500 2.500v3h3M6 8.500h4.500M6 11h4.500',
  menu: 'M2.500 4.500h11M2.500 8h11M2.500 11.500h11',
  close: 'm4 4 8 8M12 4l-8 8',
  plus: 'M8 3v10M3 8h10',
  minus: 'M3 8h10',
  left: 'M10 3.500 5.500 8l4.500 4.500',
  right: 'M6 3.500 10.500 8 6 12.500',
  down: 'M3.500 6 8 10.500 12.500 6',
  clock: 'M8 2.200a5.800 5.800 0 1 0 0 11.600A5.800 5.800 0 0 0 8 2.200ZM8 4.800V8l2.300 1.600',
  calendar: 'M2.800 4h10.400v9H2.800zM2.800 6.800h10.400M5.500 2.300v2.500M10.500 2.300v2.500',
  refresh: 'M13 3.200v3.300H9.700M12.800 6.300A5.200 5.200 0 1 0 13.200 9',
  copy: 'M5.500 5.500h7.500v8H5.500zM3 10.500v-8h7.500',
  search: 'M7 2.500a4.500 4.500 0 1 0 0 9 4.500 4.500 0 0 0 0-9ZM10.300 10.300 14 14',
  warn: 'M8 2.300 14.300 13.500H1.700L8 2.300ZM8 6.300v3.500M8 11.700v.1',
  info: 'M8 2.200a5.800 5.800 0 1 0 0 11.600A5.800 5.800 0 0 0 8 2.200ZM8 7.200v3.800M8 4.900V5',
  trash: 'M3 4.500h10M6 4.500v-2h4v2M4.300 4.500l.7 9h6l.7-9M6.800 7v4M9.200 7v4',
  sun: 'M8 5.200a2.800 2.800 0 1 0 0 5.600 2.800 2.800 0 0 0 0-5.600ZM8 1.500v1.300M8 13.200v1.300M1.500 8h1.300M13.200 8h1.300M3.400 3.400l.9.9M11.700 11.700l.9.900M12.600 3.400l-.9.900M4.300 11.700l-.9.900',
  moon: 'M13 9.600A5.600 5.600 0 0 1 6.400 3a5.600 5.600 0 1 0 6.600 6.600Z',
  lines: 'M2 12.500 6 7l3 3 5-6.500',
  area: 'M2 13V9l4-3 3 2.500L14 4v9zM2 9',
  heat: 'M2.500 2.500h5v5h-5zM8.500 2.500h5v5h-5zM2.500 8.500h5v5h-5zM8.500 8.500h5v5h-5z',
  diamond: 'M8 2.500 13.500 8 8 13.500 2.500 8z',
  format: 'M3 3.500h10M6 8h7M3 12.500h10',
  link: 'M6.500 9.500 9.500 6.500M7.500 4.500l1-1a2.800 2.800 0 0 1 4 4l-1 1M8.500 11.500l-1 1a2.800 2.800 0 0 1-4-4l1-1',
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name }: { name: IconName }) {
  return (
    <svg class="icon" viewBox="0 0 16 16" fill="none" stroke="currentColor" stroke-width="1.4" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true">
      <path d={PATHS[name]} />
    </svg>
  );
}

/** The umbel of the giant fennel. */
export function Mark({ class: name }: { class?: string }) {
  const stem = 'M12 22V12M12 14 5.2 8.2M12 14l6.8-5.8M12 13 8.6 5.4M12 13l3.4-7.6M12 13V4.5';
  return (
    <svg class={name} viewBox="0 0 24 24" aria-hidden="true">
      <path d={stem} fill="none" stroke="var(--accent)" stroke-width="1.7" stroke-linecap="round" />
      <g fill="var(--yellow)">
        <circle cx="4.4" cy="7.4" r="2" />
        <circle cx="8.2" cy="4.200" r="2" />
        <circle cx="12" cy="3" r="2" />
        <circle cx="15.800" cy="4.200" r="2" />
        <circle cx="19.600" cy="7.400" r="2" />
      </g>
    </svg>
  );
}
