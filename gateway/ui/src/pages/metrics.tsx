// The metrics explorer: every metric with its type and help, and for one of them its labels, their values, and queries to begin with.
import { useEffect, useMemo, useState } from 'preact/hooks';
import { useApi } from '../lib/api';
import { count, labelName, metricSelector, quoted } from '../lib/format';
import { queryLink, setSearch } from '../lib/location';
import type { Labels, Metadata } from '../lib/types';
import { Icon } from '../parts/icons';
import { Breakable, Empty, ErrorNote, Meter, Page, Search, Wait, useLimited } from '../parts/parts';

/** Series of one metric that are looked at; more of them do not change the picture. */
const SERIES_MAX = 20_000;
/** How far back series are looked for. */
const LOOK_BACK_SECONDS = 3600;

export function MetricsPage() {
  return (
    <Page title="Metrics" lead="Every metric that this server knows. Choose one to see its labels and queries to begin with.">
      <div class="card">
        <div class="pad">
          <MetricBrowser initial={new URLSearchParams(location.search).get('metric') ?? undefined} remember />
        </div>
      </div>
    </Page>
  );
}

/** The explorer itself; `choose` takes an expression where there is a panel to take it, else links lead to one. */
export function MetricBrowser({ choose, initial, remember }: { choose?: (expr: string) => void; initial?: string; remember?: boolean }) {
  const [filter, setFilter] = useState('');
  const [metric, setMetric] = useState(initial);
  const names = useApi<string[]>('api/v1/label/__name__/values');
  const metadata = useApi<Metadata>('api/v1/metadata', { limit_per_metric: '1' });
  useEffect(() => {
    if (remember) setSearch(metric === undefined ? '' : `metric=${encodeURIComponent(metric)}`, 'replace');
  }, [metric]);
  const about = metadata.answer?.data ?? {};
  const words = filter.toLowerCase().split(/\s+/).filter(Boolean);
  const found = useMemo(
    () =>
      (names.answer?.data ?? []).filter((name) => {
        const text = `${name} ${describe(about, name)?.help ?? ''}`.toLowerCase();
        return words.every((word) => text.includes(word));
      }),
    [names.answer, metadata.answer, filter],
  );
  const [shown, more] = useLimited(found, 100);
  if (metric !== undefined) {
    return <Metric name={metric} about={describe(about, metric)} choose={choose} back={() => setMetric(undefined)} />;
  }
  return (
    <div class="stack">
      <div class="toolbar">
        <Search value={filter} onInput={setFilter} label="Part of a name or of a help text" />
        <span class="muted">{names.answer ? `${count(found.length)} of ${count(names.answer.data.length)}` : '\u00a0'}</span>
      </div>
      <ErrorNote error={names.error} />
      {!names.answer && !names.error && <Wait lines={10} />}
      {names.answer && found.length === 0 && (
        <Empty title={names.answer.data.length === 0 ? 'No metrics yet' : 'No metric fits'}>
          {names.answer.data.length === 0 ? 'They appear with the first scrape, push or remote write.' : 'Try fewer or other words.'}
        </Empty>
      )}
      {found.length > 0 && (
        <div>
          <ul class="metrics">
            {shown.map((name) => {
              const meta = describe(about, name);
              return (
                <li key={name}>
                  <button type="button" onClick={() => setMetric(name)}>
                    <code>
                      <Breakable text={name} />
                    </code>
                    {meta && <span class="badge plain">{meta.type}</span>}
                    <span class="muted help">{meta?.help}</span>
                  </button>
                </li>
              );
            })}
          </ul>
          {more}
        </div>
      )}
    </div>
  );
}

type About = { type: string; help: string; unit: string };

/** What is known of a metric; parts of histograms and summaries have the words of their family. */
function describe(all: Metadata, name: string): About | undefined {
  const own = Object.hasOwn(all, name) ? all[name]?.[0] : undefined;
  if (own) return own;
  const family = /^(.*)_(bucket|count|sum|total|created)$/.exec(name)?.[1];
  return family !== undefined && Object.hasOwn(all, family) ? all[family]?.[0] : undefined;
}

/** Queries that make sense for a metric of this type. */
function suggestions(name: string, about: About | undefined): { text: string; expr: string }[] {
  const selector = metricSelector(name);
  const out = [{ text: 'Latest values', expr: selector }];
  const counter = about?.type === 'counter' || /_(total|count|sum|bucket)$/.test(name);
  if (counter) out.push({ text: 'Rate per second', expr: `rate(${selector}[5m])` });
  if (name.endsWith('_bucket')) out.push({ text: '95th percentile', expr: `histogram_quantile(0.95, sum by (le) (rate(${selector}[5m])))` });
  else if (about?.type === 'histogram' && !/_(count|sum)$/.test(name)) {
    out.push({ text: 'Distribution over time', expr: `sum(rate(${selector}[5m]))` }, { text: '95th percentile', expr: `histogram_quantile(0.95, sum(rate(${selector}[5m])))` });
  }
  if (!counter) out.push({ text: 'Largest ten', expr: `topk(10, ${selector})` });
  out.push({ text: 'Number of series', expr: `count(${selector})` });
  return out;
}

function Metric({ name, about, choose, back }: { name: string; about: About | undefined; choose?: (expr: string) => void; back: () => void }) {
  const [since] = useState(() => String(Math.floor(Date.now() / 1000) - LOOK_BACK_SECONDS));
  const series = useApi<Labels[]>('api/v1/series', { 'match[]': metricSelector(name), start: since, limit: String(SERIES_MAX) });
  const labels = useMemo(() => distribution(series.answer?.data ?? []), [series.answer]);
  const total = series.answer?.data.length ?? 0;
  const link = (expr: string, text: string, title?: string) =>
    choose ? (
      <button type="button" class="button" title={title} onClick={() => choose(expr)}>
        {text}
      </button>
    ) : (
      <a class="button" title={title} href={queryLink(expr, { tab: 'graph' })}>
        {text}
      </a>
    );
  return (
    <div class="stack">
      <div class="row">
        <button type="button" class="button" onClick={back}>
          <Icon name="left" />
          All metrics
        </button>
      </div>
      <div class="row">
        <h2 class="mono break" style={{ fontSize: '15px' }}>
          {name}
        </h2>
        {about && <span class="badge plain">{about.type}</span>}
        {about?.unit && <span class="badge plain">{about.unit}</span>}
      </div>
      {about?.help && <p class="muted">{about.help}</p>}
      <div class="row">{suggestions(name, about).map((s) => <span key={s.text}>{link(s.expr, s.text, s.expr)}</span>)}</div>
      <ErrorNote error={series.error} />
      {!series.answer && !series.error && <Wait lines={6} />}
      {series.answer && (
        <>
          <p class="muted">
            {count(total)}
            {total >= SERIES_MAX ? ' or more' : ''} series in the last hour, {labels.length} label{labels.length === 1 ? '' : 's'}.
          </p>
          <div class="columns">
            {labels.map((label) => (
              <LabelValues key={label.name} metric={name} label={label} total={total} choose={choose} />
            ))}
          </div>
        </>
      )}
    </div>
  );
}

interface LabelInfo {
  name: string;
  values: [string, number][];
}

/** Labels with their values, the most varied first. */
function distribution(all: Labels[]): LabelInfo[] {
  const counts = new Map<string, Map<string, number>>();
  for (const labels of all) {
    for (const [name, value] of Object.entries(labels)) {
      if (name === '__name__') continue;
      const values = counts.get(name) ?? new Map<string, number>();
      counts.set(name, values);
      values.set(value, (values.get(value) ?? 0) + 1);
    }
  }
  return [...counts]
    .map(([name, values]) => ({ name, values: [...values].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1)) }))
    .sort((a, b) => b.values.length - a.values.length || (a.name < b.name ? -1 : 1));
}

function LabelValues({ metric, label, total, choose }: { metric: string; label: LabelInfo; total: number; choose?: (expr: string) => void }) {
  const [shown, more] = useLimited(label.values, 8);
  const selector = (value: string) => {
    const plain = metricSelector(metric);
    const pair = `${labelName(label.name)}=${quoted(value)}`;
    return plain.endsWith('}') ? `${plain.slice(0, -1)}, ${pair}}` : `${plain}{${pair}}`;
  };
  return (
    <div class="card">
      <header>
        <h3 class="mono">{label.name}</h3>
        <span class="muted small">
          {count(label.values.length)} value{label.values.length === 1 ? '' : 's'}
        </span>
      </header>
      <table class="table fixed bars">
        <tbody>
          {shown.map(([value, n]) => (
            <tr key={value}>
              <td class="mono break">
                {choose ? (
                  <button type="button" class="link" onClick={() => choose(selector(value))}>
                    {value || '""'}
                  </button>
                ) : (
                  <a href={queryLink(selector(value))}>{value || '""'}</a>
                )}
              </td>
              <td class="meter-cell">
                <Meter share={n / Math.max(1, total)} />
              </td>
              <td class="num">{count(n)}</td>
            </tr>
          ))}
        </tbody>
      </table>
      {more}
    </div>
  );
}
