// Push groups: what was pushed, when, and the means to delete it.
import { useState } from 'preact/hooks';
import { order, useApi, useFlags } from '../lib/api';
import { count } from '../lib/format';
import { queryLink } from '../lib/location';
import { settings } from '../lib/settings';
import { ago, formatMoment } from '../lib/time';
import type { Labels } from '../lib/types';
import { Confirm, Empty, ErrorNote, LabelPlates, Page, Refresh, Search, Wait, useLimited } from '../parts/parts';

interface Metric {
  labels: Labels;
  value?: string;
  count?: string;
  sum?: string;
}
interface Family {
  time_stamp: string;
  type: string;
  help?: string;
  metrics: Metric[];
}
interface Group {
  labels: Labels;
  ok: boolean;
  families: [string, Family][];
}

/** In the API a group's families stand beside its labels, each under its name. */
function groupOf(raw: Record<string, unknown>): Group {
  const families = Object.entries(raw).filter(
    (entry): entry is [string, Family] => typeof entry[1] === 'object' && entry[1] !== null && 'metrics' in entry[1] && 'time_stamp' in entry[1],
  );
  return { labels: (raw.labels ?? {}) as Labels, ok: raw.last_push_successful !== false && raw.last_push_successful !== 'false', families };
}

/** The path of a group: the job first, values that a path cannot hold in base64. */
export function groupPath(labels: Labels): string {
  const part = (name: string, value: string) => {
    if (value !== '' && !value.includes('/')) return `${name}/${encodeURIComponent(value)}`;
    let binary = '';
    for (const byte of new TextEncoder().encode(value)) binary += String.fromCharCode(byte);
    return `${name}@base64/${value === '' ? '=' : btoa(binary).replaceAll('+', '-').replaceAll('/', '_')}`;
  };
  const { job = '', ...rest } = labels;
  return ['pushgateway/metrics', part('job', job), ...Object.entries(rest).map(([n, v]) => part(encodeURIComponent(n), v))].join('/');
}

export function PushPage() {
  const flags = useFlags();
  const on = flags?.['push.enable'] === 'true';
  return (
    <Page title="Push groups" lead="Metrics that jobs have pushed, group by group, as a Pushgateway keeps them.">
      {!flags ? (
        <Wait lines={6} />
      ) : on ? (
        <Groups admin={flags['web.enable-admin-api'] === 'true'} />
      ) : (
        <div class="card">
          <Empty title="Pushing is off">
            Start the server with <code>--push.enable</code> to take metrics at <code>/metrics/job/…</code>, as a Pushgateway does.
          </Empty>
        </div>
      )}
    </Page>
  );
}

function Groups({ admin }: { admin: boolean }) {
  const groups = useApi<Record<string, unknown>[]>('pushgateway/api/v1/metrics');
  const [text, setText] = useState('');
  const [doomed, setDoomed] = useState<Group | 'all'>();
  settings.use();
  const all = (Array.isArray(groups.answer?.data) ? groups.answer.data : []).map(groupOf);
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const fits = all.filter((g) => {
    const hay = [...Object.entries(g.labels).map(([n, v]) => `${n}="${v}"`), ...g.families.map(([name]) => name)].join(' ').toLowerCase();
    return words.every((word) => hay.includes(word));
  });
  const [shown, more] = useLimited(fits, 50);
  return (
    <div class="stack">
      <div class="toolbar">
        <Search value={text} onInput={setText} label="Part of a label or of a metric" />
        <span class="muted">{groups.answer ? `${count(fits.length)} of ${count(all.length)}` : '\u00a0'}</span>
        <span class="grow" />
        {admin && all.length > 0 && (
          <button type="button" class="button danger" onClick={() => setDoomed('all')}>
            Delete all…
          </button>
        )}
        <Refresh loading={groups.loading} onClick={groups.reload} />
      </div>
      <ErrorNote error={groups.error} />
      {!groups.answer && !groups.error && <Wait lines={6} />}
      {groups.answer && fits.length === 0 && (
        <div class="card">
          <Empty title={all.length === 0 ? 'Nothing was pushed yet' : 'No group fits'}>
            {all.length === 0 ? (
              <>
                Try: <code class="break">echo 'backup_done 1' | curl --data-binary @- {location.origin}/metrics/job/backup</code>
              </>
            ) : (
              'Try fewer or other words.'
            )}
          </Empty>
        </div>
      )}
      {shown.map((group) => (
        <GroupCard key={JSON.stringify(group.labels)} group={group} remove={() => setDoomed(group)} />
      ))}
      {more}
      {doomed && (
        <Confirm
          title={doomed === 'all' ? 'Delete all groups?' : 'Delete this group?'}
          action="Delete"
          onClose={() => setDoomed(undefined)}
          run={async () => {
            if (doomed === 'all') await order('pushgateway/api/v1/admin/wipe', 'PUT');
            else await order(groupPath(doomed.labels), 'DELETE');
            groups.reload();
          }}
        >
          {doomed === 'all' ? <p>All {count(all.length)} groups will be gone.</p> : <LabelPlates labels={doomed.labels} />}
          <p class="muted">What has been scraped of it already stays in the storage.</p>
        </Confirm>
      )}
    </div>
  );
}

/** Families that every group has for its own book-keeping. */
const OWN = ['push_time_seconds', 'push_failure_time_seconds'];

function GroupCard({ group, remove }: { group: Group; remove: () => void }) {
  const families = group.families.filter(([name]) => !OWN.includes(name));
  const pushed = group.families.find(([name]) => name === 'push_time_seconds')?.[1];
  const seconds = Number(pushed?.metrics[0]?.value);
  const at = seconds > 0 ? new Date(seconds * 1000).toISOString() : pushed?.time_stamp;
  return (
    <details class="card pool">
      <summary>
        <LabelPlates labels={group.labels} />
        {!group.ok && <span class="badge bad">last push failed</span>}
        <span class="grow" />
        <span class="muted small nowrap" title={at ? formatMoment(Date.parse(at)) : undefined}>
          {families.length} {families.length === 1 ? 'metric' : 'metrics'}
          {at && ` · ${ago(at)}`}
        </span>
        <button type="button" class="button danger" onClick={(e) => (e.preventDefault(), remove())}>
          Delete…
        </button>
      </summary>
      <div class="scroll">
        <table class="table folding pushed">
          <thead>
            <tr>
              <th scope="col">Metric</th>
              <th scope="col">Labels</th>
              <th scope="col" class="num">Value</th>
            </tr>
          </thead>
          <tbody>
            {families.flatMap(([name, family]) =>
              family.metrics.map((metric, i) => (
                <tr key={`${name}${i}`}>
                  <td class="whole">
                    {i === 0 && (
                      <>
                        <a class="mono break" href={queryLink(name)}>
                          {name}
                        </a>
                        <div class="muted small">
                          {family.type.toLowerCase()}
                          {family.help ? ` · ${family.help}` : ''}
                        </div>
                      </>
                    )}
                  </td>
                  <td class="label-cell">
                    <LabelPlates labels={metric.labels} skip={Object.keys(group.labels)} />
                  </td>
                  <td class="num mono">{metric.value ?? `count ${metric.count ?? '–'}, sum ${metric.sum ?? '–'}`}</td>
                </tr>
              )),
            )}
          </tbody>
        </table>
      </div>
    </details>
  );
}
