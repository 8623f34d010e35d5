// The answer of a query as a table.
import { useState } from 'preact/hooks';
import { parseNumber, short } from '../lib/format';
import { formatMoment } from '../lib/time';
import type { HistogramValue, MatrixItem, QueryData, VectorItem } from '../lib/types';
import { Empty, Series, useLimited } from '../parts/parts';

export function Table({ data }: { data: QueryData }) {
  if (data.resultType === 'scalar' || data.resultType === 'string') {
    return (
      <div class="scalar">
        <strong>{data.result[1]}</strong>
        <span class="muted">{data.resultType}</span>
      </div>
    );
  }
  if (data.result.length === 0) {
    return <Empty title="Nothing matches">No series has a value at this time. Check the selectors, or move the time.</Empty>;
  }
  if (data.resultType === 'vector') return <Vector items={data.result} />;
  return <Matrix items={(data as { result: MatrixItem[] }).result} />;
}

type Order = 'given' | 'down' | 'up';

function Vector({ items }: { items: VectorItem[] }) {
  const [order, setOrder] = useState<Order>('given');
  const value = (item: VectorItem) => parseNumber(item.value?.[1] ?? item.histogram?.[1].count ?? 'NaN');
  const sorted = order === 'given' ? items : [...items].sort((a, b) => (order === 'up' ? value(a) - value(b) : value(b) - value(a)) || 0);
  const [shown, more] = useLimited(sorted, 250);
  const next: Record<Order, Order> = { given: 'down', down: 'up', up: 'given' };
  return (
    <>
      <div class="scroll">
        <table class="table result">
          <thead>
            <tr>
              <th scope="col">Series</th>
              <th scope="col" class="num" aria-sort={order === 'given' ? 'none' : order === 'up' ? 'ascending' : 'descending'}>
                <button type="button" class="sort" onClick={() => setOrder(next[order])}>
                  Value {order === 'down' ? '↓' : order === 'up' ? '↑' : '↕'}
                </button>
              </th>
            </tr>
          </thead>
          <tbody>
            {shown.map((item, i) => (
              <tr key={i}>
                <td>
                  <Series labels={item.metric} />
                </td>
                <td class="num mono">{item.histogram ? <HistogramCell value={item.histogram[1]} /> : item.value?.[1]}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {more}
    </>
  );
}

/** Samples of a range vector that are shown per series. */
const SAMPLES_MAX = 200;

function Matrix({ items }: { items: MatrixItem[] }) {
  const [shown, more] = useLimited(items, 50);
  return (
    <>
      <div class="scroll">
        <table class="table result">
          <thead>
            <tr>
              <th scope="col">Series</th>
              <th scope="col">Samples</th>
            </tr>
          </thead>
          <tbody>
            {shown.map((item, i) => {
              const samples = [...(item.values ?? []), ...(item.histograms ?? [])].sort((a, b) => a[0] - b[0]);
              return (
                <tr key={i}>
                  <td>
                    <Series labels={item.metric} />
                  </td>
                  <td class="mono nowrap">
                    {samples.slice(0, SAMPLES_MAX).map(([at, sample], k) => (
                      <div key={k} title={formatMoment(at * 1000, undefined, true)}>
                        {typeof sample === 'string' ? sample : `count ${sample.count}, sum ${sample.sum}`} <span class="muted">@{at}</span>
                      </div>
                    ))}
                    {samples.length > SAMPLES_MAX && <div class="muted">and {samples.length - SAMPLES_MAX} more</div>}
                  </td>
                </tr>
              );
            })}
          </tbody>
        </table>
      </div>
      {more}
    </>
  );
}

/** A native histogram: its sums, and its buckets as bars. */
export function HistogramCell({ value }: { value: HistogramValue }) {
  const buckets = (value.buckets ?? []).map(([rule, low, high, count]) => ({ rule, low, high, count: parseNumber(count) }));
  const most = Math.max(0, ...buckets.map((b) => b.count));
  const wide = 220;
  const each = wide / Math.max(1, buckets.length);
  return (
    <details class="histogram">
      <summary>
        <svg width={wide} height="34" viewBox={`0 0 ${wide} 34`} role="img" aria-label={`Histogram of ${buckets.length} buckets`}>
          {buckets.map((b, i) => {
            const height = most > 0 ? Math.max(1, (b.count / most) * 32) : 0;
            return (
              <rect key={i} x={i * each} y={33 - height} width={Math.max(1, each - 1)} height={height} fill="var(--accent)">
                <title>{`${b.rule === 1 || b.rule === 3 ? '[' : '('}${b.low}, ${b.high}${b.rule === 0 || b.rule === 3 ? ']' : ')'}: ${b.count}`}</title>
              </rect>
            );
          })}
          <line x1="0" x2={wide} y1="33.5" y2="33.5" stroke="var(--line-strong)" />
        </svg>
        <span>
          count {value.count} · sum {short(parseNumber(value.sum))}
        </span>
      </summary>
      <table class="buckets">
        <tbody>
          {buckets.map((b, i) => (
            <tr key={i}>
              <td>
                {b.rule === 1 || b.rule === 3 ? '[' : '('}
                {b.low}, {b.high}
                {b.rule === 0 || b.rule === 3 ? ']' : ')'}
              </td>
              <td class="num">{b.count}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </details>
  );
}
