// Alerts: the alerting rules and what they see now, the loudest first.
import { useState } from 'preact/hooks';
import { useApi } from '../lib/api';
import { queryLink, setSearch } from '../lib/location';
import { settings } from '../lib/settings';
import { formatMoment, humanSeconds } from '../lib/time';
import type { Alert, Rule, RuleGroup } from '../lib/types';
import { Empty, ErrorNote, LabelPlates, Page, Refresh, Search, Segments, Wait, useLimited } from '../parts/parts';

type State = 'all' | 'firing' | 'pending' | 'inactive';
const RANK: Record<string, number> = { firing: 0, pending: 1, unknown: 2, inactive: 3 };
export const TONE: Record<string, string> = { firing: 'bad', pending: 'warn', inactive: 'ok', unknown: '' };
const REFRESH_MS = 10_000;

interface Found {
  group: RuleGroup;
  rule: Rule;
}

export function AlertsPage() {
  const rules = useApi<{ groups: RuleGroup[] }>('api/v1/rules', { type: 'alert' }, REFRESH_MS);
  const params = new URLSearchParams(location.search);
  const [state, setState] = useState<State>(() => (['firing', 'pending', 'inactive'].find((s) => s === params.get('state')) as State | undefined) ?? 'all');
  const [text, setText] = useState(params.get('search') ?? '');
  settings.use();
  const all: Found[] = (rules.answer?.data.groups ?? []).flatMap((group) => group.rules.map((rule) => ({ group, rule })));
  const number = (s: State) => all.filter((f) => f.rule.state === s).length;
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const fits = all
    .filter((f) => (state === 'all' || f.rule.state === state) && words.every((word) => haystack(f).includes(word)))
    .sort((a, b) => (RANK[a.rule.state ?? ''] ?? 9) - (RANK[b.rule.state ?? ''] ?? 9));
  const [shown, more] = useLimited(fits, 100);
  return (
    <Page
      title="Alerts"
      tools={
        <>
          <span class="grow" />
          <Refresh loading={rules.loading} onClick={rules.reload} />
        </>
      }
    >
      <div class="toolbar gap-below">
        <Segments
          label="State"
          value={state}
          onChange={(next) => {
            setState(next);
            setSearch(next === 'all' ? '' : `state=${next}`, 'replace');
          }}
          options={[
            { value: 'all', text: `All ${all.length}` },
            { value: 'firing', text: `Firing ${number('firing')}` },
            { value: 'pending', text: `Pending ${number('pending')}` },
            { value: 'inactive', text: `Inactive ${number('inactive')}` },
          ]}
        />
        <Search value={text} onInput={setText} label="Part of a name, group or label" />
      </div>
      <ErrorNote error={rules.error} />
      {!rules.answer && !rules.error && <Wait lines={8} />}
      {rules.answer && fits.length === 0 && (
        <Empty title={all.length === 0 ? 'No alerting rules' : 'No alert fits'}>
          {all.length === 0 ? (
            <>
              Name files with rules under <code>rule_files</code> in the configuration.
            </>
          ) : (
            'Another state or word may find some.'
          )}
        </Empty>
      )}
      {shown.length > 0 && (
        <div class="card">
          {shown.map((f) => (
            <AlertRule key={`${f.group.file};${f.group.name};${f.rule.name};${f.rule.query}`} found={f} />
          ))}
          {more}
        </div>
      )}
    </Page>
  );
}

const haystack = ({ group, rule }: Found) =>
  [rule.name, group.name, group.file, ...Object.entries(rule.labels ?? {}).flat(), ...(rule.alerts ?? []).flatMap((a) => Object.entries(a.labels).map(([n, v]) => `${n}="${v}"`))]
    .join(' ')
    .toLowerCase();

function AlertRule({ found: { group, rule } }: { found: Found }) {
  const alerts = rule.alerts ?? [];
  const state = rule.state ?? 'unknown';
  return (
    <details class="alert" open={state === 'firing'}>
      <summary>
        <span class={`badge ${TONE[state] ?? ''}`}>{state}</span>
        <strong class="break">{rule.name}</strong>
        {alerts.length > 0 && <span class="muted">{alerts.length} active</span>}
        <span class="grow" />
        <span class="muted small break">
          {group.file} · {group.name}
        </span>
      </summary>
      <div class="inside stack">
        <RuleBody rule={rule} />
        {alerts.length > 0 && <AlertTable alerts={alerts} />}
      </div>
    </details>
  );
}

/** The expression and what belongs to it; used by the page of rules, too. */
export function RuleBody({ rule }: { rule: Rule }) {
  return (
    <>
      <a class="expression mono" href={queryLink(rule.query, { tab: 'graph' })} title="Open as a query">
        {rule.query}
      </a>
      <div class="facts-line small muted">
        {!!rule.duration && <span>for {humanSeconds(rule.duration)}</span>}
        {!!rule.keepFiringFor && <span>keeps firing for {humanSeconds(rule.keepFiringFor)}</span>}
        {rule.labels && Object.keys(rule.labels).length > 0 && <LabelPlates labels={rule.labels} />}
      </div>
      {rule.annotations && Object.keys(rule.annotations).length > 0 && <Annotations annotations={rule.annotations} />}
      {rule.lastError && <div class="note bad break">{rule.lastError}</div>}
    </>
  );
}

function Annotations({ annotations }: { annotations: Record<string, string> }) {
  return (
    <dl class="annotations small">
      {Object.entries(annotations).map(([name, value]) => (
        <div key={name}>
          <dt class="muted">{name}</dt>
          <dd class="break">{/^https?:\/\//.test(value) ? <a href={value} target="_blank" rel="noreferrer">{value}</a> : value}</dd>
        </div>
      ))}
    </dl>
  );
}

function AlertTable({ alerts }: { alerts: Alert[] }) {
  const sorted = [...alerts].sort((a, b) => (RANK[a.state] ?? 9) - (RANK[b.state] ?? 9));
  const [shown, more] = useLimited(sorted, 50);
  return (
    <div class="card">
      <div class="scroll">
        <table class="table folding">
          <thead>
            <tr>
              <th scope="col">Labels</th>
              <th scope="col">State</th>
              <th scope="col">Since</th>
              <th scope="col" class="num">Value</th>
            </tr>
          </thead>
          <tbody>
            {shown.map((alert, i) => (
              <tr key={i}>
                <td class="label-cell">
                  <LabelPlates labels={alert.labels} skip={['alertname']} />
                  {Object.keys(alert.annotations).length > 0 && <Annotations annotations={alert.annotations} />}
                </td>
                <td>
                  <span class={`badge ${TONE[alert.state] ?? ''}`}>{alert.state}</span>
                  {alert.keepFiringSince && <div class="muted small">kept firing</div>}
                </td>
                <td class="nowrap">{alert.activeAt ? formatMoment(Date.parse(alert.activeAt)) : '–'}</td>
                <td class="num mono">{Number.isNaN(Number(alert.value)) ? alert.value : String(Number(alert.value))}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {more}
    </div>
  );
}
