// Status: the process, the build, what is kept, and what the log holds.
import type { ComponentChildren } from 'preact';
import { useApi } from '../lib/api';
import { count } from '../lib/format';
import { settings } from '../lib/settings';
import { formatMoment, humanSeconds } from '../lib/time';
import { ErrorNote, Page, Refresh, Wait } from '../parts/parts';

interface Runtime {
  startTime: string;
  CWD: string;
  hostname: string;
  serverTime: string;
  reloadConfigSuccess: boolean;
  lastConfigTime: string;
  corruptionCount: number;
  goroutineCount: number;
  GOMAXPROCS: number;
  storageRetention: string;
}
interface Build {
  version: string;
  revision: string;
}

export function StatusPage() {
  const runtime = useApi<Runtime>('api/v1/status/runtimeinfo', {}, 15_000);
  const build = useApi<Build>('api/v1/status/buildinfo');
  const replay = useApi<{ min: number; max: number; current: number }>('api/v1/status/walreplay');
  settings.use();
  const info = runtime.answer?.data;
  const moment = (text: string) => formatMoment(Date.parse(text));
  return (
    <Page
      title="Status"
      tools={
        <>
          <span class="grow" />
          <Refresh loading={runtime.loading} onClick={runtime.reload} />
        </>
      }
    >
      <ErrorNote error={runtime.error} />
      <div class="columns">
        <Card title="Process">
          {info ? (
            <dl class="facts">
              <Fact name="Running for">{humanSeconds((Date.parse(info.serverTime) - Date.parse(info.startTime)) / 1000)}</Fact>
              <Fact name="Started">{moment(info.startTime)}</Fact>
              <Fact name="Server time">{moment(info.serverTime)}</Fact>
              <Fact name="Host">{info.hostname}</Fact>
              <Fact name="Directory">
                <code>{info.CWD}</code>
              </Fact>
              <Fact name="Shards">{count(info.GOMAXPROCS)}</Fact>
              <Fact name="Threads">{count(info.goroutineCount)}</Fact>
            </dl>
          ) : (
            !runtime.error && <Wait lines={7} />
          )}
        </Card>
        <Card title="Configuration and storage">
          {info ? (
            <dl class="facts">
              <Fact name="Configuration">
                <span class={`badge ${info.reloadConfigSuccess ? 'ok' : 'bad'}`}>{info.reloadConfigSuccess ? 'loaded' : 'the last load failed'}</span>
              </Fact>
              <Fact name="Loaded">{moment(info.lastConfigTime)}</Fact>
              <Fact name="Kept for">{info.storageRetention || 'ever'}</Fact>
              <Fact name="Damaged log records">
                {info.corruptionCount === 0 ? 'none' : <span class="badge bad">{count(info.corruptionCount)}</span>}
              </Fact>
              <Fact name="Log segments">{replay.answer ? `${replay.answer.data.min} to ${replay.answer.data.max}` : '–'}</Fact>
            </dl>
          ) : (
            !runtime.error && <Wait lines={5} />
          )}
        </Card>
        <Card title="Build">
          {build.answer ? (
            <dl class="facts">
              <Fact name="Ferula">{build.answer.data.revision.replace(/^ferula-/, '')}</Fact>
              <Fact name="Speaks the API of">Prometheus {build.answer.data.version}</Fact>
            </dl>
          ) : (
            <Wait lines={2} />
          )}
        </Card>
        <Card title="For machines">
          <ul class="pad stack">
            <li>
              <a href="metrics" target="_blank">
                Own metrics
              </a>{' '}
              <span class="muted">in the text format</span>
            </li>
            <li>
              <a href="api/v1/features" target="_blank">
                Features
              </a>{' '}
              <span class="muted">what this server can do, by the names of Prometheus</span>
            </li>
            <li>
              <a href="-/healthy" target="_blank">
                Health
              </a>{' '}
              <span class="muted">and</span>{' '}
              <a href="-/ready" target="_blank">
                readiness
              </a>{' '}
              <span class="muted">for probes</span>
            </li>
          </ul>
        </Card>
      </div>
    </Page>
  );
}

function Card({ title, children }: { title: string; children: ComponentChildren }) {
  return (
    <section class="card">
      <header>
        <h2>{title}</h2>
      </header>
      {children}
    </section>
  );
}

function Fact({ name, children }: { name: string; children: ComponentChildren }) {
  return (
    <>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </>
  );
}
