// Queries: those that run now, with the means to end them, and those that cost the most lately.
import { useState } from 'preact/hooks';
import { call, useApi, type ApiError } from '../lib/api';
import { bytes, count } from '../lib/format';
import { place, queryLink, setSearch } from '../lib/location';
import { formatMoment, humanSeconds, parseDuration } from '../lib/time';
import { Empty, ErrorNote, Page, Refresh, Segments, Wait } from '../parts/parts';

/** How often the running queries are asked for. */
const REFRESH_MS = 2000;

export function QueriesPage() {
  const [tab, setTab] = useState<'active' | 'top'>(() => (place.get().page === 'top-queries' ? 'top' : 'active'));
  return (
    <Page
      title="Queries"
      tools={
        <Segments
          label="View"
          value={tab}
          onChange={(next) => {
            setTab(next);
            setSearch('', 'replace');
          }}
          options={[
            { value: 'active', text: 'Running' },
            { value: 'top', text: 'Most expensive' },
          ]}
        />
      }
    >
      {tab === 'active' ? <Active /> : <Top />}
    </Page>
  );
}

interface Running {
  id: string;
  query: string;
  duration: string;
  remote_addr?: string;
  start?: number;
  end?: number;
  step?: number;
}

/** The answer is a list, in the envelope or in a member of it. */
function listOf(data: unknown): Running[] {
  if (Array.isArray(data)) return data as Running[];
  const inner = (data as { data?: unknown } | undefined)?.data;
  return Array.isArray(inner) ? (inner as Running[]) : [];
}

function Active() {
  const running = useApi<unknown>('api/v1/status/active_queries', {}, REFRESH_MS);
  const [error, setError] = useState<ApiError>();
  const [ending, setEnding] = useState<ReadonlySet<string>>(new Set());
  if (running.error?.status === 404) return <Absent what="running queries" />;
  const all = listOf(running.answer?.data);
  const cancel = async (id: string) => {
    setError(undefined);
    setEnding(new Set(ending).add(id));
    try {
      await call('api/v1/status/active_queries/cancel', { id }, { method: 'POST' });
    } catch (reason) {
      setError(reason as ApiError);
    }
    running.reload();
  };
  return (
    <div class="stack">
      <ErrorNote error={running.error} />
      <ErrorNote error={error} what="The query could not be cancelled" />
      {!running.answer && !running.error && <Wait lines={4} />}
      {running.answer && (
        <div class="card">
          {all.length === 0 ? (
            <Empty title="No query is running">The list refreshes every two seconds.</Empty>
          ) : (
            <div class="scroll">
              <table class="table folding">
                <thead>
                  <tr>
                    <th scope="col">Query</th>
                    <th scope="col" class="num">Running for</th>
                    <th scope="col">Range</th>
                    <th scope="col">From</th>
                    <th scope="col">
                      <span class="visually-hidden">Cancel</span>
                    </th>
                  </tr>
                </thead>
                <tbody>
                  {all.map((query) => (
                    <tr key={query.id}>
                      <td class="wide-cell">
                        <a class="mono break clamp" title={query.query} href={queryLink(query.query)}>
                          {query.query}
                        </a>
                      </td>
                      <td class="num">{query.duration}</td>
                      <td class="nowrap">
                        <Range query={query} />
                      </td>
                      <td class="mono nowrap">{query.remote_addr ?? '–'}</td>
                      <td class="num">
                        <button type="button" class="button danger" disabled={ending.has(query.id)} onClick={() => cancel(query.id)}>
                          {ending.has(query.id) ? 'Cancelling…' : 'Cancel'}
                        </button>
                      </td>
                    </tr>
                  ))}
                </tbody>
              </table>
            </div>
          )}
        </div>
      )}
    </div>
  );
}

function Range({ query }: { query: Running }) {
  if (query.start === undefined || query.end === undefined) return <>–</>;
  if (query.start === query.end) return <span title={formatMoment(query.end)}>one moment</span>;
  return (
    <span title={`${formatMoment(query.start)} to ${formatMoment(query.end)}`}>
      {humanSeconds((query.end - query.start) / 1000)}
      {query.step ? `, every ${humanSeconds(query.step / 1000)}` : ''}
    </span>
  );
}

interface TopEntry {
  query: string;
  timeRangeSeconds?: number;
  count?: number;
  avgDurationSeconds?: number;
  sumDurationSeconds?: number;
  avgMemoryBytes?: number;
}
type TopLists = Partial<Record<'topByCount' | 'topByAvgDuration' | 'topBySumDuration' | 'topByAvgMemoryUsage', TopEntry[]>>;

const LISTS: { key: keyof TopLists; title: string; value: (entry: TopEntry) => string }[] = [
  { key: 'topBySumDuration', title: 'Time in all', value: (e) => humanSeconds(e.sumDurationSeconds ?? NaN) },
  { key: 'topByAvgDuration', title: 'Time each', value: (e) => humanSeconds(e.avgDurationSeconds ?? NaN) },
  { key: 'topByCount', title: 'Number of runs', value: (e) => count(e.count ?? NaN) },
  { key: 'topByAvgMemoryUsage', title: 'Memory each', value: (e) => bytes(e.avgMemoryBytes ?? NaN) },
];

function Top() {
  const [topN, setTopN] = useState('20');
  const [lifetime, setLifetime] = useState('10m');
  const top = useApi<TopLists>('api/v1/status/top_queries', { topN, maxLifetime: parseDuration(lifetime) ? lifetime : undefined });
  if (top.error?.status === 404) return <Absent what="which queries cost the most" />;
  const data = top.answer?.data;
  return (
    <div class="stack">
      <div class="toolbar">
        <label class="check">
          In the last
          <select class="input" value={lifetime} onChange={(e) => setLifetime(e.currentTarget.value)}>
            {['5m', '10m', '30m', '1h', '6h', '1d'].map((text) => (
              <option key={text}>{text}</option>
            ))}
          </select>
        </label>
        <label class="check">
          Entries
          <select class="input" value={topN} onChange={(e) => setTopN(e.currentTarget.value)}>
            {['5', '20', '50', '100'].map((text) => (
              <option key={text}>{text}</option>
            ))}
          </select>
        </label>
        <Refresh loading={top.loading} onClick={top.reload} />
      </div>
      <ErrorNote error={top.error} />
      {!data && !top.error && <Wait lines={6} />}
      {data && (
        <div class="columns">
          {LISTS.filter((list) => data[list.key]).map((list) => (
            <section class="card" key={list.key}>
              <header>
                <h2>{list.title}</h2>
              </header>
              {data[list.key]?.length === 0 ? (
                <Empty title="No queries in this time" />
              ) : (
                <table class="table top">
                  <tbody>
                    {data[list.key]?.map((entry, i) => (
                      <tr key={i}>
                        <td>
                          <a class="mono break clamp" title={entry.query} href={queryLink(entry.query)}>
                            {entry.query}
                          </a>
                          <div class="muted small">
                            {entry.timeRangeSeconds ? `range ${humanSeconds(entry.timeRangeSeconds)}` : 'one moment'}
                            {entry.count !== undefined && list.key !== 'topByCount' && ` · ${count(entry.count)} runs`}
                          </div>
                        </td>
                        <td class="num">{list.value(entry)}</td>
                      </tr>
                    ))}
                  </tbody>
                </table>
              )}
            </section>
          ))}
        </div>
      )}
    </div>
  );
}

function Absent({ what }: { what: string }) {
  return (
    <div class="card">
      <Empty title={`This server does not tell ${what}`}>The list appears as soon as the server has it.</Empty>
    </div>
  );
}
