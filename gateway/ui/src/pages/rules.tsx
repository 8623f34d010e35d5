// Rules: all groups, how their last evaluation went and how long it took.
import { useState } from 'preact/hooks';
import { useApi } from '../lib/api';
import { settings } from '../lib/settings';
import { ago, formatMoment, humanSeconds, isNever } from '../lib/time';
import type { Rule, RuleGroup } from '../lib/types';
import { Empty, ErrorNote, Page, Refresh, Search, Segments, Wait, useLimited } from '../parts/parts';
import { RuleBody, TONE } from './alerts';

type Kind = 'all' | 'alerting' | 'recording' | 'err';
const HEALTH: Record<string, string> = { ok: 'ok', err: 'bad', unknown: '' };
const REFRESH_MS = 15_000;

export function RulesPage() {
  const rules = useApi<{ groups: RuleGroup[] }>('api/v1/rules', {}, REFRESH_MS);
  const [kind, setKind] = useState<Kind>('all');
  const [text, setText] = useState('');
  settings.use();
  const groups = rules.answer?.data.groups ?? [];
  const every = groups.flatMap((g) => g.rules);
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const fits = (group: RuleGroup, rule: Rule) =>
    (kind === 'all' || (kind === 'err' ? rule.health === 'err' : rule.type === kind)) &&
    words.every((word) => `${rule.name} ${rule.query} ${group.name} ${group.file}`.toLowerCase().includes(word));
  const shownGroups = groups.map((group) => ({ group, own: group.rules.filter((rule) => fits(group, rule)) })).filter((g) => g.own.length > 0);
  const number = (test: (rule: Rule) => boolean) => every.filter(test).length;
  return (
    <Page
      title="Rules"
      tools={
        <>
          <span class="grow" />
          <Refresh loading={rules.loading} onClick={rules.reload} />
        </>
      }
    >
      <div class="toolbar gap-below">
        <Segments
          label="Kind"
          value={kind}
          onChange={setKind}
          options={[
            { value: 'all', text: `All ${every.length}` },
            { value: 'alerting', text: `Alerting ${number((r) => r.type === 'alerting')}` },
            { value: 'recording', text: `Recording ${number((r) => r.type === 'recording')}` },
            { value: 'err', text: `Failing ${number((r) => r.health === 'err')}` },
          ]}
        />
        <Search value={text} onInput={setText} label="Part of a name, expression, group or file" />
      </div>
      <ErrorNote error={rules.error} />
      {!rules.answer && !rules.error && <Wait lines={8} />}
      {rules.answer && shownGroups.length === 0 && (
        <Empty title={every.length === 0 ? 'No rules' : 'No rule fits'}>
          {every.length === 0 ? (
            <>
              Name files with rules under <code>rule_files</code> in the configuration.
            </>
          ) : (
            'Another kind or word may find some.'
          )}
        </Empty>
      )}
      <div class="stack">
        {shownGroups.map(({ group, own }) => (
          <Group key={`${group.file};${group.name}`} group={group} rules={own} />
        ))}
      </div>
    </Page>
  );
}

function Group({ group, rules }: { group: RuleGroup; rules: Rule[] }) {
  const [shown, more] = useLimited(rules, 100);
  const failing = group.rules.filter((r) => r.health === 'err').length;
  return (
    <details class="card pool" open>
      <summary>
        <h2 class="break">{group.name}</h2>
        {failing > 0 && <span class="badge bad">{failing} failing</span>}
        <span class="muted small break">{group.file}</span>
        <span class="grow" />
        <span class="muted small" title={isNever(group.lastEvaluation) ? undefined : formatMoment(Date.parse(group.lastEvaluation))}>
          every {humanSeconds(group.interval)} · {isNever(group.lastEvaluation) ? 'not yet evaluated' : `${ago(group.lastEvaluation)}, took ${humanSeconds(group.evaluationTime)}`}
        </span>
      </summary>
      {shown.map((rule, i) => (
        <details class="alert" key={i} open={rule.health === 'err'}>
          <summary>
            <span class={`badge ${HEALTH[rule.health] ?? ''}`}>{rule.health}</span>
            <strong class="break mono">{rule.name}</strong>
            <span class="badge plain">{rule.type}</span>
            {rule.state && rule.state !== 'inactive' && <span class={`badge ${TONE[rule.state] ?? ''}`}>{rule.state}</span>}
            <span class="grow" />
            <span class="muted small nowrap">{isNever(rule.lastEvaluation) ? '' : `took ${humanSeconds(rule.evaluationTime)}`}</span>
          </summary>
          <div class="inside stack">
            <RuleBody rule={rule} />
          </div>
        </details>
      ))}
      {more}
    </details>
  );
}
