// Cardinality: what takes the series and the memory, and the means to look closer and to delete.
import { useState } from 'preact/hooks';
import { call, useApi, useCall, useFlags, type ApiError } from '../lib/api';
import { bytes, count, labelName, metricSelector, parseNumber, quoted } from '../lib/format';
import { queryLink } from '../lib/location';
import { settings } from '../lib/settings';
import { formatMoment, humanSeconds, parseMoment } from '../lib/time';
import type { Labels, QueryData, VectorItem } from '../lib/types';
import { Breakable, Confirm, Empty, ErrorNote, Meter, Page, Refresh, Wait, useLimited } from '../parts/parts';

interface Entry {
  name: string;
  value: number;
}
interface Tsdb {
  headStats: { numSeries: number; numLabelPairs: number; chunkCount: number; minTime: number; maxTime: number };
  seriesCountByMetricName: Entry[];
  labelValueCountByLabelName: Entry[];
  memoryInBytesByLabelName: Entry[];
  seriesCountByLabelValuePair: Entry[];
  memoryBytes?: Record<string, number>;
}
interface Block {
  ulid: string;
  minTime: number;
  maxTime: number;
  stats: { numSamples?: number; numSeries?: number; numTombstones?: number };
  compaction: { level: number; failed?: boolean };
  shard?: number;
  bytes?: number;
}

export function CardinalityPage() {
  const [limit, setLimit] = useState('10');
  const tsdb = useApi<Tsdb>('api/v1/status/tsdb', { limit });
  const [focus, setFocus] = useState({ match: '', label: '' });
  settings.use();
  const data = tsdb.answer?.data;
  const head = data?.headStats;
  const empty = head?.numSeries === 0;
  const span = head && !empty ? (head.maxTime - head.minTime) / 1000 : 0;
  return (
    <Page
      title="Cardinality"
      lead="Which metrics and labels the series in memory belong to. Every name leads further."
      tools={
        <>
          <span class="grow" />
          <label class="check">
            Entries
            <select class="input" value={limit} onChange={(e) => setLimit(e.currentTarget.value)}>
              {['10', '20', '50', '100', '500'].map((n) => (
                <option key={n}>{n}</option>
              ))}
            </select>
          </label>
          <Refresh loading={tsdb.loading} onClick={tsdb.reload} />
        </>
      }
    >
      <div class="stack wide-gaps">
        <ErrorNote error={tsdb.error} />
        {!data && !tsdb.error && <Wait lines={10} />}
        {data && head && (
          <>
            <dl class="figures">
              <Figure name="Series" value={count(head.numSeries)} />
              <Figure name="Label pairs" value={count(head.numLabelPairs)} />
              <Figure name="Chunks" value={count(head.chunkCount)} />
              <Figure name="From" value={empty ? '–' : formatMoment(head.minTime)} small />
              <Figure name="To" value={empty ? '–' : formatMoment(head.maxTime)} small />
              <Figure name="Span" value={empty ? '–' : humanSeconds(span)} />
            </dl>
            <Closer focus={focus} setFocus={setFocus} />
            <div class="columns">
              <Ranking
                title="Series by metric"
                entries={data.seriesCountByMetricName}
                whole={head.numSeries}
                href={(name) => `metrics-explorer?metric=${encodeURIComponent(name)}`}
              />
              <Ranking
                title="Series by label pair"
                entries={data.seriesCountByLabelValuePair}
                whole={head.numSeries}
                href={(name) => queryLink(`count by (__name__) (${pairSelector(name)})`)}
              />
              <Ranking title="Values by label" entries={data.labelValueCountByLabelName} pick={(label) => setFocus({ match: '', label })} />
              <Ranking title="Memory by label" entries={data.memoryInBytesByLabelName} format={bytes} pick={(label) => setFocus({ match: '', label })} />
              {data.memoryBytes && (
                <Ranking
                  title="Memory of the head"
                  entries={Object.entries(data.memoryBytes)
                    .map(([name, value]) => ({ name: MEMORY[name] ?? name, value }))
                    .sort((a, b) => b.value - a.value)}
                  format={bytes}
                />
              )}
            </div>
          </>
        )}
        <Blocks />
        <Admin />
      </div>
    </Page>
  );
}

const MEMORY: Record<string, string> = {
  index: 'index',
  labels: 'labels',
  postings: 'postings',
  series: 'series',
  openChunks: 'open chunks',
  sealedChunks: 'sealed chunks',
  mappedChunks: 'mapped chunks',
  histograms: 'histograms',
  outOfOrder: 'out of order',
  tombstones: 'tombstones',
};

function Figure({ name, value, small }: { name: string; value: string; small?: boolean }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd class={small ? 'smaller' : undefined}>{value}</dd>
    </div>
  );
}

/** `job=api` as the server lists pairs. */
function pairSelector(pair: string): string {
  const at = pair.indexOf('=');
  const [name, value] = [pair.slice(0, at), pair.slice(at + 1)];
  return name === '__name__' ? metricSelector(value) : `{${labelName(name)}=${quoted(value)}}`;
}

function Ranking(props: { title: string; entries: Entry[]; whole?: number; format?: (n: number) => string; href?: (name: string) => string; pick?: (name: string) => void }) {
  const { entries, href, pick, format = count } = props;
  const whole = props.whole ?? Math.max(1, ...entries.map((e) => e.value));
  return (
    <section class="card">
      <header>
        <h2>{props.title}</h2>
      </header>
      {entries.length === 0 ? (
        <Empty title="Nothing yet" />
      ) : (
        <table class="table fixed bars">
          <tbody>
            {entries.map((entry) => (
              <tr key={entry.name}>
                <td class="mono break">
                  {href ? (
                    <a href={href(entry.name)}>
                      <Breakable text={entry.name} />
                    </a>
                  ) : pick ? (
                    <button type="button" class="link" onClick={() => pick(entry.name)}>
                      {entry.name}
                    </button>
                  ) : (
                    entry.name
                  )}
                </td>
                <td class="meter-cell">
                  <Meter share={entry.value / Math.max(1, whole)} />
                </td>
                <td class="num">{format(entry.value)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </section>
  );
}

/** Entries of the closer look. */
const CLOSER_MAX = 50;

/** Series of a selector, counted by the values of one label. */
function Closer({ focus, setFocus }: { focus: { match: string; label: string }; setFocus: (focus: { match: string; label: string }) => void }) {
  const { match, label } = focus;
  const inner = match.trim() || (label ? `{${labelName(label)}!=""}` : '');
  const query = label && inner ? `topk(${CLOSER_MAX}, count by (${labelName(label)}) (${inner}))` : undefined;
  const found = useCall<QueryData>(query, (signal) => call<QueryData>('api/v1/query', { query }, { method: 'POST', signal }));
  const items = found.answer?.data.resultType === 'vector' ? (found.answer.data.result as VectorItem[]) : [];
  const entries = items.map((item) => ({ name: item.metric[label] ?? '', value: parseNumber(item.value?.[1] ?? '0') })).sort((a, b) => b.value - a.value);
  const form = (event: SubmitEvent) => {
    event.preventDefault();
    const fields = new FormData(event.currentTarget as HTMLFormElement);
    setFocus({ match: String(fields.get('match') ?? ''), label: String(fields.get('label') ?? '').trim() });
  };
  return (
    <section class="card">
      <header>
        <h2>A closer look</h2>
        <span class="muted small">Series of a selector, by the values of one label.</span>
      </header>
      <form class="toolbar pad" onSubmit={form}>
        <input class="input mono grow-input" name="match" value={match} aria-label="Selector" placeholder='Selector, for example {job="api"}; all when empty' spellcheck={false} />
        <input class="input mono" name="label" value={label} aria-label="Label" placeholder="Label" required spellcheck={false} />
        <button type="submit" class="button">
          Count
        </button>
      </form>
      {(found.error || (query && found.answer && !found.loading)) && (
        <div class="closer">
          <ErrorNote error={found.error} />
          {!found.error && entries.length === 0 && <Empty title="No series has this label" />}
          {!found.error && entries.length > 0 && (
            <table class="table fixed bars">
              <tbody>
                {entries.map((entry) => (
                  <tr key={entry.name}>
                    <td class="mono break">
                      <a href={queryLink(`count by (__name__) ({${labelName(label)}=${quoted(entry.name)}})`)}>{entry.name || '""'}</a>
                    </td>
                    <td class="meter-cell">
                      <Meter share={entry.value / Math.max(1, entries[0]?.value ?? 1)} />
                    </td>
                    <td class="num">{count(entry.value)}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          )}
        </div>
      )}
    </section>
  );
}

function Blocks() {
  const blocks = useApi<{ blocks: Block[] }>('api/v1/status/tsdb/blocks');
  const all = [...(blocks.answer?.data.blocks ?? [])].sort((a, b) => b.maxTime - a.maxTime);
  const [shown, more] = useLimited(all, 20);
  if (!blocks.answer) return <ErrorNote error={blocks.error} />;
  return (
    <section class="card">
      <header>
        <h2>Blocks</h2>
        <span class="badge plain">{count(all.length)}</span>
        {all.length > 0 && <span class="muted small">{bytes(all.reduce((sum, b) => sum + (b.bytes ?? 0), 0))} on disk</span>}
      </header>
      {all.length === 0 ? (
        <Empty title="No blocks yet">What arrives is cut into a block every two hours.</Empty>
      ) : (
        <div class="scroll">
          <table class="table">
            <thead>
              <tr>
                <th scope="col">Block</th>
                <th scope="col">From</th>
                <th scope="col">To</th>
                <th scope="col" class="num">Level</th>
                <th scope="col" class="num">Series</th>
                <th scope="col" class="num">Samples</th>
                <th scope="col" class="num">Size</th>
              </tr>
            </thead>
            <tbody>
              {shown.map((b) => (
                <tr key={`${b.ulid} ${b.shard}`}>
                  <td class="mono">
                    {b.ulid} {b.compaction.failed && <span class="badge bad">damaged</span>}
                  </td>
                  <td class="nowrap">{formatMoment(b.minTime)}</td>
                  <td class="nowrap">{formatMoment(b.maxTime)}</td>
                  <td class="num">{b.compaction.level}</td>
                  <td class="num">{count(b.stats.numSeries ?? 0)}</td>
                  <td class="num">{count(b.stats.numSamples ?? 0)}</td>
                  <td class="num">{b.bytes === undefined ? '–' : bytes(b.bytes)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      {more}
    </section>
  );
}

interface Deletion {
  match: string;
  start?: string;
  end?: string;
  series: number;
}

/** Deleting and snapshots, only where the server allows them. */
function Admin() {
  const flags = useFlags();
  const [asked, setAsked] = useState<Deletion>();
  const [error, setError] = useState<ApiError>();
  const [done, setDone] = useState('');
  if (flags?.['web.enable-admin-api'] !== 'true') return null;
  const attempt = async (work: () => Promise<string>) => {
    setError(undefined);
    setDone('');
    try {
      setDone(await work());
    } catch (reason) {
      setError(reason as ApiError);
    }
  };
  const form = (event: SubmitEvent) => {
    event.preventDefault();
    const fields = new FormData(event.currentTarget as HTMLFormElement);
    const text = (name: string) => String(fields.get(name) ?? '').trim();
    const seconds = (name: string) => {
      if (!text(name)) return undefined;
      const at = parseMoment(text(name));
      if (at === undefined) throw new Error(`${text(name)} is not a time`);
      return String(at / 1000);
    };
    void attempt(async () => {
      const [start, end] = [seconds('start'), seconds('end')];
      const match = text('match');
      const found = await call<Labels[]>('api/v1/series', { 'match[]': match, start, end });
      setAsked({ match, start, end, series: found.data.length });
      return '';
    });
  };
  const post = (path: string) => call<{ name?: string } | undefined>(path, {}, { method: 'POST' });
  return (
    <section class="card">
      <header>
        <h2>Administration</h2>
      </header>
      <form class="toolbar pad" onSubmit={form}>
        <input class="input mono grow-input" name="match" required aria-label="Selector of the series to delete" placeholder='Series to delete, for example {job="old"}' spellcheck={false} />
        <input class="input" name="start" aria-label="From" placeholder="From: the beginning" />
        <input class="input" name="end" aria-label="To" placeholder="To: the end" />
        <button type="submit" class="button danger">
          Delete…
        </button>
      </form>
      <div class="toolbar pad line-above">
        <button type="button" class="button" onClick={() => attempt(async () => (await post('api/v1/admin/tsdb/clean_tombstones'), 'What was deleted is off the disk.'))}>
          Free what was deleted
        </button>
        <button type="button" class="button" onClick={() => attempt(async () => `Snapshot ${(await post('api/v1/admin/tsdb/snapshot')).data?.name} is made.`)}>
          Make a snapshot
        </button>
        <span role="status">{done}</span>
      </div>
      {error && (
        <div class="pad">
          <ErrorNote error={error} />
        </div>
      )}
      {asked && (
        <Confirm
          title="Delete series?"
          action={`Delete from ${count(asked.series)} series`}
          onClose={() => setAsked(undefined)}
          run={async () => {
            await call('api/v1/admin/tsdb/delete_series', { 'match[]': asked.match, start: asked.start, end: asked.end }, { method: 'POST' });
            setDone('Deleted.');
          }}
        >
          <p>
            Samples {asked.start || asked.end ? 'in this time' : 'of all time'} of {count(asked.series)} series that match <code class="break">{asked.match}</code> will be gone. This cannot be undone.
          </p>
        </Confirm>
      )}
    </section>
  );
}
