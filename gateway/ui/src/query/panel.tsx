// One panel: editor, tabs, and the answer in the form that was chosen.
import { useMemo, useRef, useState } from 'preact/hooks';
import { call, useCall, type Answer, type ApiError } from '../lib/api';
import { count } from '../lib/format';
import { forgetAll, history, remember } from '../lib/settings';
import { humanSeconds } from '../lib/time';
import type { Explanation, ExemplarSeries, MatrixItem, QueryData } from '../lib/types';
import { MetricBrowser } from '../pages/metrics';
import { Icon } from '../parts/icons';
import { Dialog, Empty, ErrorNote, IconButton, Popover, Segments, Wait, Warnings } from '../parts/parts';
import { MomentControl, RangeControl, ResolutionControl } from './controls';
import { Editor, type EditorHandle } from './editor';
import { ExplainTree } from './explain';
import { Graph } from './graph';
import { stepMs, type Mode, type PanelState, type Tab } from './panel-state';
import { Table } from './table';

export interface PanelProps {
  panel: PanelState;
  single: boolean;
  autofocus: boolean;
  update: (patch: Partial<PanelState>, how?: 'push' | 'replace') => void;
  remove: () => void;
  copy: () => void;
}

export function Panel({ panel, single, autofocus, update, remove, copy }: PanelProps) {
  const editor = useRef<EditorHandle | null>(null);
  const [draft, setDraft] = useState(panel.expr);
  const [browsing, setBrowsing] = useState(false);
  const [formatError, setFormatError] = useState<ApiError>();
  const run = (expr: string) => {
    setFormatError(undefined);
    remember(expr);
    update({ expr: expr.trim(), run: panel.run + 1 }, expr.trim() === panel.expr ? 'replace' : 'push');
  };
  const use = (expr: string) => {
    editor.current?.setText(expr);
    run(expr);
  };
  const format = async () => {
    try {
      const pretty = await call<string>('api/v1/format_query', { query: draft });
      editor.current?.setText(pretty.data);
      setFormatError(undefined);
    } catch (error) {
      setFormatError(error as ApiError);
    }
  };
  return (
    <section class="card panel" aria-label={panel.expr ? `Panel ${panel.expr}` : 'New panel'}>
      <div class="ask">
        <Editor initial={panel.expr} autofocus={autofocus} onRun={run} onChange={setDraft} handle={editor} />
        <div class="ask-tools">
          <IconButton icon="metrics" label="Browse metrics" onClick={() => setBrowsing(true)} />
          <Popover icon="clock" label="Earlier queries">
            {(close) => <Earlier use={(expr) => (close(), use(expr))} />}
          </Popover>
          <IconButton icon="format" label="Format the expression" onClick={format} />
          <button type="button" class="button primary" onClick={() => run(editor.current?.text() ?? draft)}>
            Run
          </button>
        </div>
      </div>
      <ErrorNote error={formatError} />
      <Answers panel={panel} update={update} stale={draft.trim() !== panel.expr && panel.expr !== ''}>
        <IconButton icon="copy" label="Copy this panel" onClick={copy} />
        {!single && <IconButton icon="trash" label="Remove this panel" onClick={remove} />}
      </Answers>
      {browsing && (
        <Dialog title="Metrics" onClose={() => setBrowsing(false)}>
          <MetricBrowser
            choose={(expr) => {
              setBrowsing(false);
              if (draft.trim() === '') use(expr);
              else editor.current?.insert(expr);
            }}
          />
        </Dialog>
      )}
    </section>
  );
}

function Earlier({ use }: { use: (expr: string) => void }) {
  const queries = history.use();
  if (queries.length === 0) return <Empty title="No queries yet">What you run is kept here, in this browser only.</Empty>;
  return (
    <div class="earlier">
      <ul>
        {queries.map((query) => (
          <li key={query}>
            <button type="button" onClick={() => use(query)}>
              <code class="clamp">{query}</code>
            </button>
          </li>
        ))}
      </ul>
      <button type="button" class="button quiet" onClick={forgetAll}>
        Forget all
      </button>
    </div>
  );
}

interface Asked {
  data: Answer<QueryData>;
  startMs: number;
  endMs: number;
  stepMs: number;
  exemplars: ExemplarSeries[];
  exemplarError?: ApiError;
}

const atOneMoment = (panel: PanelState) => panel.tab === 'table' || (panel.tab === 'explain' && panel.explainMoment);

/** Asks what the tab needs. */
async function ask(panel: PanelState, signal: AbortSignal): Promise<Answer<Asked>> {
  const init = { method: 'POST', signal };
  const endMs = panel.endMs ?? Date.now();
  const step = stepMs(panel);
  const startMs = endMs - panel.rangeMs;
  const wrap = (data: Answer<QueryData>, more: Partial<Asked> = {}): Answer<Asked> => ({
    ...data,
    data: { data, startMs, endMs, stepMs: step, exemplars: [], ...more },
  });
  const explain = panel.tab === 'explain' ? { explain: '1' } : {};
  if (atOneMoment(panel)) {
    return wrap(await call<QueryData>('api/v1/query', { query: panel.expr, time: String(endMs / 1000), stats: 'true', ...explain }, init));
  }
  const range = { query: panel.expr, start: String(startMs / 1000), end: String(endMs / 1000) };
  const answer = call<QueryData>('api/v1/query_range', { ...range, step: String(step / 1000), stats: 'true', ...explain }, init);
  if (panel.tab === 'graph' && panel.exemplars) {
    const found = call<ExemplarSeries[]>('api/v1/query_exemplars', range, init).then(
      (e) => ({ exemplars: e.data }),
      (error: ApiError) => ({ exemplarError: error }),
    );
    return wrap(await answer, await found);
  }
  return wrap(await answer);
}

const TABS: { tab: Tab; name: string }[] = [
  { tab: 'table', name: 'Table' },
  { tab: 'graph', name: 'Graph' },
  { tab: 'explain', name: 'Explain' },
];

function Answers(props: { panel: PanelState; update: PanelProps['update']; stale: boolean; children: preact.ComponentChildren }) {
  const { panel, update } = props;
  const { tab, expr, endMs, rangeMs, resolution, exemplars, run } = panel;
  const key = expr === '' ? undefined : JSON.stringify([tab, expr, endMs, atOneMoment(panel) ? 0 : [rangeMs, resolution, tab === 'graph' && exemplars], run]);
  const { answer, error, loading } = useCall<Asked>(key, (signal) => ask(panel, signal));
  const asked = answer?.data;
  const data = asked?.data.data;
  const histograms = useMemo(() => data?.resultType === 'matrix' && data.result.some((item) => item.histograms?.length), [data]);
  const numbers = useMemo(() => data?.resultType === 'matrix' && data.result.some((item) => item.values?.length), [data]);
  const mode: Mode = histograms && !numbers ? 'heatmap' : panel.mode === 'heatmap' && !histograms ? 'lines' : panel.mode;
  const move = (event: KeyboardEvent) => {
    const by = event.key === 'ArrowRight' ? 1 : event.key === 'ArrowLeft' ? -1 : 0;
    if (by === 0) return;
    const next = TABS[(TABS.findIndex((t) => t.tab === tab) + by + TABS.length) % TABS.length];
    if (!next) return;
    update({ tab: next.tab });
    (event.currentTarget as HTMLElement).querySelector<HTMLElement>(`[data-tab=${next.tab}]`)?.focus();
  };
  const fits = answer && (tab === 'explain' ? 'explain' in answer.body : (data?.resultType !== 'matrix') === (tab === 'table') || tab === 'table');
  return (
    <>
      <div class="panel-bar">
        <div class="tabs" role="tablist" aria-label="View" onKeyDown={move}>
          {TABS.map((t) => (
            <button key={t.tab} type="button" role="tab" data-tab={t.tab} aria-selected={t.tab === tab} tabIndex={t.tab === tab ? 0 : -1} onClick={() => update({ tab: t.tab })}>
              {t.name}
            </button>
          ))}
        </div>
        <Numbers answer={answer} loading={loading} stale={props.stale} />
        <div class="row panel-tools">{props.children}</div>
      </div>
      <div class={`progress-line${loading ? ' on' : ''}`} />
      <div class="panel-controls toolbar">
        {tab === 'explain' && (
          <Segments
            label="What is explained"
            value={panel.explainMoment ? 'moment' : 'range'}
            onChange={(what) => update({ explainMoment: what === 'moment' })}
            options={[
              { value: 'range', text: 'Range' },
              { value: 'moment', text: 'One moment' },
            ]}
          />
        )}
        {atOneMoment(panel) ? (
          <MomentControl label="Time" ms={endMs} stepMs={Math.max(60_000, rangeMs / 2)} onChange={(ms) => update({ endMs: ms })} />
        ) : (
          <>
            <RangeControl ms={rangeMs} onChange={(ms) => update({ rangeMs: ms })} />
            <MomentControl label="End" ms={endMs} stepMs={rangeMs / 2} onChange={(ms) => update({ endMs: ms })} />
            <ResolutionControl panel={panel} stepMs={stepMs(panel)} onChange={(r) => update({ resolution: r })} />
          </>
        )}
        {tab === 'graph' && (
          <>
            <Segments
              label="Form"
              value={mode}
              onChange={(m) => update({ mode: m })}
              options={[
                { value: 'lines', text: 'Lines', icon: 'lines', disabled: !!histograms && !numbers },
                { value: 'stacked', text: 'Stacked', icon: 'area', disabled: !!histograms && !numbers },
                { value: 'heatmap', text: 'Heatmap', icon: 'heat', disabled: !histograms, title: histograms ? undefined : 'For native histograms' },
              ]}
            />
            <label class="check">
              <input type="checkbox" checked={panel.exemplars} onChange={(e) => update({ exemplars: e.currentTarget.checked })} />
              Exemplars
            </label>
            <label class="check" title="Begin the axis at zero">
              <input type="checkbox" checked={panel.yMin === 0} onChange={(e) => update({ yMin: e.currentTarget.checked ? 0 : null })} />
              From 0
            </label>
          </>
        )}
      </div>
      <div class={`answer answer-${tab}`} role="tabpanel" aria-label={tab} aria-busy={loading}>
        {expr === '' ? (
          <Hints />
        ) : error ? (
          <div class="pad">
            <ErrorNote error={error} />
          </div>
        ) : !answer || !asked || !data || !fits ? (
          <Wait lines={tab === 'graph' ? 10 : 5} />
        ) : (
          <>
            {(answer.warnings.length > 0 || answer.infos.length > 0 || asked.exemplarError) && (
              <div class="pad">
                <Warnings warnings={answer.warnings} infos={answer.infos} />
                <ErrorNote error={asked.exemplarError} what="Exemplars could not be read" />
              </div>
            )}
            {tab === 'table' && <Table data={data} />}
            {tab === 'explain' && <ExplainTree explanation={answer.body.explain as Explanation} />}
            {tab === 'graph' &&
              (data.resultType === 'matrix' && data.result.length > 0 ? (
                <Graph
                  items={data.result as MatrixItem[]}
                  startMs={asked.startMs}
                  endMs={asked.endMs}
                  stepMs={asked.stepMs}
                  mode={mode}
                  yMin={panel.yMin}
                  exemplars={asked.exemplars}
                  onZoom={(from, to) => update({ endMs: to, rangeMs: Math.max(1000, to - from) }, 'push')}
                />
              ) : (
                <Empty title="Nothing matches">No series has a value in this range. Check the selectors, or choose another range.</Empty>
              ))}
          </>
        )}
      </div>
    </>
  );
}

/** How long it took, how much came, how much was read. */
function Numbers({ answer, loading, stale }: { answer: Answer<Asked> | undefined; loading: boolean; stale: boolean }) {
  if (loading && !answer) return <span class="grow muted small numbers">Asking…</span>;
  if (!answer) return <span class="grow" />;
  const data = answer.data.data.data;
  const series = Array.isArray(data.result) && (data.resultType === 'vector' || data.resultType === 'matrix') ? data.result.length : 1;
  const read = data.stats?.samples?.samplesRead ?? data.stats?.samples?.totalQueryableSamples;
  const evaluated = data.stats?.timings?.execTotalTime;
  return (
    <span class="grow muted small numbers">
      <span>{count(series)} series</span>
      <span title={evaluated === undefined ? undefined : `${humanSeconds(evaluated)} in the server`}>{humanSeconds(answer.tookMs / 1000)}</span>
      {read !== undefined && <span>{count(read)} {read === 1 ? 'sample' : 'samples'} read</span>}
      {stale && <span class="badge plain">expression changed</span>}
    </span>
  );
}

function Hints() {
  return (
    <div class="empty">
      <strong>Ask something</strong>
      <p>
        Type an expression and press <kbd>Enter</kbd>; <kbd>Shift</kbd> <kbd>Enter</kbd> makes a new line, <kbd>Ctrl</kbd> <kbd>Space</kbd> completes. Or start from a list:
      </p>
      <p class="row" style={{ justifyContent: 'center' }}>
        <a class="button" href="metrics-explorer">
          <Icon name="metrics" />
          Browse metrics
        </a>
        <a class="button" href="targets">
          <Icon name="targets" />
          See the targets
        </a>
      </p>
    </div>
  );
}
