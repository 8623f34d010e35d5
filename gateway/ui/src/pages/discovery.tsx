// Service discovery: what was found, what it became, what was dropped, and by which relabeling step.
import { useState } from 'preact/hooks';
import { useApi } from '../lib/api';
import { count } from '../lib/format';
import type { ActiveTarget, DroppedTarget, Labels, TargetsData } from '../lib/types';
import { Dialog, Empty, ErrorNote, LabelPlates, Page, Refresh, Search, Segments, Wait, useLimited } from '../parts/parts';
import { targetText } from './targets';

interface Found {
  pool: string;
  discovered: Labels;
  labels?: Labels;
}

const foundOf = (t: ActiveTarget | DroppedTarget): Found => ({ pool: t.scrapePool, discovered: t.discoveredLabels, labels: 'labels' in t ? t.labels : undefined });

export function DiscoveryPage() {
  const targets = useApi<TargetsData>('api/v1/targets', {}, 0);
  const [text, setText] = useState('');
  const [kind, setKind] = useState<'all' | 'kept' | 'dropped'>('all');
  const [traced, setTraced] = useState<Found>();
  const data = targets.answer?.data;
  const all = data ? [...data.activeTargets, ...data.droppedTargets] : [];
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const pools = [...new Set([...all.map((t) => t.scrapePool), ...Object.keys(data?.droppedTargetCounts ?? {})])].sort();
  const fits = all
    .map(foundOf)
    .filter((t) => (kind === 'all' || (t.labels !== undefined) === (kind === 'kept')) && words.every((word) => targetText({ discoveredLabels: t.discovered, labels: { ...t.discovered, ...t.labels } }).includes(word)));
  return (
    <Page
      title="Service discovery"
      lead="What discovery found, with the labels it came with, and what relabeling made of it."
      tools={
        <>
          <span class="grow" />
          <Refresh loading={targets.loading} onClick={targets.reload} />
        </>
      }
    >
      <div class="toolbar gap-below">
        <Segments
          label="Kind"
          value={kind}
          onChange={setKind}
          options={[
            { value: 'all', text: 'All' },
            { value: 'kept', text: 'Scraped' },
            { value: 'dropped', text: 'Dropped' },
          ]}
        />
        <Search value={text} onInput={setText} label="Part of a label" />
      </div>
      <ErrorNote error={targets.error} />
      {!data && !targets.error && <Wait lines={8} />}
      {data && pools.length === 0 && <Empty title="Nothing was discovered">The configuration has no scrape jobs, or they have found nothing yet.</Empty>}
      <div class="stack">
        {pools.map((pool) => (
          <Pool
            key={pool}
            name={pool}
            found={fits.filter((t) => t.pool === pool)}
            kept={data?.activeTargets.filter((t) => t.scrapePool === pool).length ?? 0}
            dropped={data?.droppedTargetCounts?.[pool] ?? data?.droppedTargets.filter((t) => t.scrapePool === pool).length ?? 0}
            trace={setTraced}
          />
        ))}
      </div>
      {traced && <Steps found={traced} onClose={() => setTraced(undefined)} />}
    </Page>
  );
}

function Pool(props: { name: string; found: Found[]; kept: number; dropped: number; trace: (found: Found) => void }) {
  const [shown, more] = useLimited(props.found, 50);
  return (
    <details class="card pool" open>
      <summary>
        <h2>{props.name}</h2>
        <span class="badge plain info">{count(props.kept)} scraped</span>
        {props.dropped > 0 && <span class="badge plain">{count(props.dropped)} dropped</span>}
      </summary>
      {props.found.length === 0 ? (
        <p class="muted pad">Nothing to show with these filters.</p>
      ) : (
        <div class="scroll">
          <table class="table folding found">
            <thead>
              <tr>
                <th scope="col">Discovered labels</th>
                <th scope="col">Target labels</th>
                <th scope="col">
                  <span class="visually-hidden">Relabeling</span>
                </th>
              </tr>
            </thead>
            <tbody>
              {shown.map((found, i) => (
                <tr key={i}>
                  <td class="whole" data-title="Discovered">
                    <LabelPlates labels={found.discovered} />
                  </td>
                  <td class="whole" data-title="Target">{found.labels ? <LabelPlates labels={found.labels} /> : <span class="badge">dropped</span>}</td>
                  <td class="num">
                    <button type="button" class="button" onClick={() => props.trace(found)}>
                      Steps
                    </button>
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      {more}
    </details>
  );
}

interface Step {
  rule: Record<string, unknown>;
  output: Labels | null;
  keep: boolean;
}

/** How relabeling came from the one to the other, step by step. */
function Steps({ found, onClose }: { found: Found; onClose: () => void }) {
  const steps = useApi<{ steps: Step[] }>('api/v1/targets/relabel_steps', { scrapePool: found.pool, labels: JSON.stringify(found.discovered) });
  const absent = steps.error?.status === 404;
  let before = found.discovered;
  let kept = true;
  return (
    <Dialog title={`Relabeling in ${found.pool}`} onClose={onClose}>
      <div class="stack">
        <div>
          <h3>Discovered</h3>
          <LabelPlates labels={found.discovered} />
        </div>
        {absent ? (
          <Empty title="This server does not tell the steps">The labels before and after are all there is to see.</Empty>
        ) : (
          <ErrorNote error={steps.error} />
        )}
        {!steps.answer && !steps.error && <Wait lines={5} />}
        {steps.answer?.data.steps.length === 0 && <p class="muted">This job has no relabeling rules.</p>}
        {steps.answer && (
          <ol class="steps">
            {steps.answer.data.steps.map((step, i) => {
              const [old, reached] = [before, kept];
              before = step.output ?? {};
              kept = step.keep;
              return (
                <li key={i} class="card">
                  <header>
                    <h3>
                      {i + 1}. {String(step.rule.action ?? 'replace')}
                    </h3>
                    <code class="grow break">{ruleText(step.rule)}</code>
                    {!step.keep && reached && <span class="badge bad">drops the target</span>}
                    {!reached && <span class="badge plain">not reached</span>}
                  </header>
                  {step.keep && (
                    <div class="pad">
                      <Changes before={old} after={before} />
                    </div>
                  )}
                </li>
              );
            })}
          </ol>
        )}
        {found.labels && (
          <div>
            <h3>Target</h3>
            <LabelPlates labels={found.labels} />
          </div>
        )}
      </div>
    </Dialog>
  );
}

const ruleText = (rule: Record<string, unknown>) =>
  Object.entries(rule)
    .filter(([name, value]) => name !== 'action' && value !== null && value !== '' && !(Array.isArray(value) && value.length === 0))
    .map(([name, value]) => `${name}: ${typeof value === 'string' ? value : JSON.stringify(value)}`)
    .join('  ');

function Changes({ before, after }: { before: Labels; after: Labels }) {
  const names = [...new Set([...Object.keys(before), ...Object.keys(after)])].sort().filter((n) => before[n] !== after[n]);
  if (names.length === 0) return <span class="muted">Nothing changes.</span>;
  return (
    <ul>
      {names.map((name) => (
        <li key={name} class="mono break">
          <span class="code-label">{name}</span>: {before[name] === undefined ? <span class="muted">not there</span> : <s>{before[name]}</s>} → {after[name] === undefined ? <span class="muted">removed</span> : <strong>{after[name]}</strong>}
        </li>
      ))}
    </ul>
  );
}
