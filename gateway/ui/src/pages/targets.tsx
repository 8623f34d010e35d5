// Targets: what is scraped, how it goes, and why not.
import { useState } from 'preact/hooks';
import { useApi } from '../lib/api';
import { place, setSearch } from '../lib/location';
import { settings } from '../lib/settings';
import { ago, formatMoment, humanSeconds, isNever } from '../lib/time';
import type { ActiveTarget, TargetsData } from '../lib/types';
import { Empty, ErrorNote, LabelPlates, Page, Refresh, Search, Segments, Wait, useLimited } from '../parts/parts';

type State = 'all' | 'up' | 'down' | 'unknown';
const TONE = { up: 'ok', down: 'bad', unknown: 'warn' } as const;
/** How often the page asks again. */
const REFRESH_MS = 10_000;

/** Prometheus's addresses name the filters `search` and `pool`. */
function initial() {
  const params = new URLSearchParams(place.get().search);
  const health = params.get('health') as State | null;
  return { text: params.get('search') ?? '', pool: params.get('pool') ?? '', health: health && ['up', 'down', 'unknown'].includes(health) ? health : ('all' as State) };
}

/** What someone would search a target by. */
export const targetText = (target: { scrapeUrl?: string; labels?: Record<string, string>; discoveredLabels: Record<string, string> }) =>
  [target.scrapeUrl ?? '', ...Object.entries(target.labels ?? target.discoveredLabels).map(([n, v]) => `${n}="${v}"`)].join(' ').toLowerCase();

export function TargetsPage() {
  const targets = useApi<TargetsData>('api/v1/targets', { state: 'active' }, REFRESH_MS);
  const [filter, setFilter] = useState(initial);
  settings.use();
  const change = (patch: Partial<typeof filter>) => {
    const next = { ...filter, ...patch };
    setFilter(next);
    const params = new URLSearchParams();
    if (next.text) params.set('search', next.text);
    if (next.pool) params.set('pool', next.pool);
    if (next.health !== 'all') params.set('health', next.health);
    setSearch(params.toString(), 'replace');
  };
  const all = targets.answer?.data.activeTargets ?? [];
  const pools = [...new Set(all.map((t) => t.scrapePool))].sort();
  const count = (health: State) => all.filter((t) => t.health === health).length;
  const words = filter.text.toLowerCase().split(/\s+/).filter(Boolean);
  const fits = all.filter(
    (t) =>
      (filter.health === 'all' || t.health === filter.health) &&
      (!filter.pool || t.scrapePool === filter.pool) &&
      words.every((word) => targetText(t).includes(word)),
  );
  return (
    <Page title="Targets" tools={<><span class="grow" /><Refresh loading={targets.loading} onClick={targets.reload} /></>}>
      <div class="toolbar gap-below">
        <Segments
          label="State"
          value={filter.health}
          onChange={(health) => change({ health })}
          options={[
            { value: 'all', text: `All ${all.length}` },
            { value: 'up', text: `Up ${count('up')}` },
            { value: 'down', text: `Down ${count('down')}` },
            { value: 'unknown', text: `Unknown ${count('unknown')}` },
          ]}
        />
        <select class="input" aria-label="Scrape pool" value={filter.pool} onChange={(e) => change({ pool: e.currentTarget.value })}>
          <option value="">All pools</option>
          {pools.map((pool) => (
            <option key={pool} value={pool}>
              {pool}
            </option>
          ))}
        </select>
        <Search value={filter.text} onInput={(text) => change({ text })} label="Part of an address or of a label" />
      </div>
      <ErrorNote error={targets.error} />
      {!targets.answer && !targets.error && <Wait lines={8} />}
      {targets.answer && fits.length === 0 && (
        <Empty title={all.length === 0 ? 'Nothing is scraped' : 'No target fits'}>
          {all.length === 0 ? 'The configuration names no targets, or discovery has found none yet.' : 'Another state, pool or word may find some.'}
        </Empty>
      )}
      <div class="stack">
        {pools.map((pool) => {
          const own = fits.filter((t) => t.scrapePool === pool);
          return own.length > 0 && <Pool key={pool} name={pool} targets={own} all={all.filter((t) => t.scrapePool === pool)} />;
        })}
      </div>
    </Page>
  );
}

function Pool({ name, targets, all }: { name: string; targets: ActiveTarget[]; all: ActiveTarget[] }) {
  const [shown, more] = useLimited(targets, 100);
  const up = all.filter((t) => t.health === 'up').length;
  return (
    <details class="card pool" open>
      <summary>
        <h2>{name}</h2>
        <span class={`badge ${up === all.length ? 'ok' : up === 0 ? 'bad' : 'warn'}`}>
          {up} of {all.length} up
        </span>
      </summary>
      <div class="scroll">
        <table class="table folding targets">
          <thead>
            <tr>
              <th scope="col">Endpoint</th>
              <th scope="col">State</th>
              <th scope="col">Labels</th>
              <th scope="col" class="num">Last scrape</th>
              <th scope="col" class="num">Took</th>
            </tr>
          </thead>
          <tbody>
            {shown.map((target) => (
              <Target key={`${target.scrapeUrl} ${JSON.stringify(target.labels)}`} target={target} />
            ))}
          </tbody>
        </table>
      </div>
      {more}
    </details>
  );
}

function Target({ target }: { target: ActiveTarget }) {
  const never = isNever(target.lastScrape);
  return (
    <tr>
      <td class="break endpoint whole">
        <a href={target.globalUrl} target="_blank" rel="noreferrer">
          {target.scrapeUrl}
        </a>
        {target.lastError && <div class="error-text">{target.lastError}</div>}
      </td>
      <td>
        <span class={`badge ${TONE[target.health] ?? 'warn'}`}>{target.health}</span>
      </td>
      <td class="label-cell">
        <LabelPlates labels={target.labels} />
      </td>
      <td class="num" title={never ? undefined : formatMoment(Date.parse(target.lastScrape))}>
        {ago(target.lastScrape)}
        <div class="muted small">every {target.scrapeInterval}</div>
      </td>
      <td class="num">{never ? '–' : humanSeconds(target.lastScrapeDuration)}</td>
    </tr>
  );
}
