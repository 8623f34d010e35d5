// The frame around the pages: navigation, preferences, and what is shown while the server cannot answer.
import type { ComponentType } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { readiness, urlOfReady, useApi, type Readiness } from './lib/api';
import { followLinks, go, place } from './lib/location';
import { change, settings } from './lib/settings';
import { Icon, Mark, type IconName } from './parts/icons';
import { Empty, Segments, Wait } from './parts/parts';
import { AlertsPage } from './pages/alerts';
import { AlertmanagersPage } from './pages/alertmanagers';
import { CardinalityPage } from './pages/cardinality';
import { DiscoveryPage } from './pages/discovery';
import { FlagsPage } from './pages/flags';
import { MetricsPage } from './pages/metrics';
import { PushPage } from './pages/push';
import { QueriesPage } from './pages/queries';
import { RulesPage } from './pages/rules';
import { StatusPage } from './pages/status';
import { TargetsPage } from './pages/targets';

type Load = () => Promise<ComponentType>;
type Entry = { page: string; name: string; icon: IconName; view?: ComponentType; load?: Load; also?: string[] };

const GROUPS: { name: string; entries: Entry[] }[] = [
  {
    name: 'Explore',
    entries: [
      { page: 'query', name: 'Query', icon: 'query', load: () => import('./query/page').then((m) => m.QueryPage) },
      { page: 'metrics-explorer', name: 'Metrics', icon: 'metrics', view: MetricsPage },
      { page: 'tsdb-status', name: 'Cardinality', icon: 'cardinality', view: CardinalityPage },
    ],
  },
  {
    name: 'Alerting',
    entries: [
      { page: 'alerts', name: 'Alerts', icon: 'alerts', view: AlertsPage },
      { page: 'rules', name: 'Rules', icon: 'rules', view: RulesPage },
      { page: 'alertmanager-discovery', name: 'Alertmanagers', icon: 'managers', view: AlertmanagersPage },
    ],
  },
  {
    name: 'Collection',
    entries: [
      { page: 'targets', name: 'Targets', icon: 'targets', view: TargetsPage },
      { page: 'service-discovery', name: 'Discovery', icon: 'discovery', view: DiscoveryPage },
      { page: 'push', name: 'Push groups', icon: 'push', view: PushPage },
    ],
  },
  {
    name: 'Server',
    entries: [
      { page: 'active-queries', name: 'Queries', icon: 'queries', view: QueriesPage, also: ['top-queries'] },
      { page: 'status', name: 'Status', icon: 'status', view: StatusPage },
      { page: 'flags', name: 'Flags', icon: 'flags', view: FlagsPage },
      { page: 'config', name: 'Configuration', icon: 'config', load: () => import('./pages/config').then((m) => m.ConfigPage) },
    ],
  },
];
const ENTRIES = GROUPS.flatMap((group) => group.entries);
const entryOf = (page: string) => ENTRIES.find((e) => e.page === page || e.also?.includes(page));

followLinks((page) => entryOf(page) !== undefined);

const loaded = new Map<string, ComponentType>();

/** The page itself, fetched first where it comes in a file of its own. */
function View({ entry }: { entry: Entry }) {
  const [, setRound] = useState(0);
  const [failed, setFailed] = useState(false);
  const Ready = entry.view ?? loaded.get(entry.page);
  useEffect(() => {
    if (Ready || !entry.load) return;
    let gone = false;
    entry.load().then(
      (view) => {
        loaded.set(entry.page, view);
        if (!gone) setRound((n) => n + 1);
      },
      () => gone || setFailed(true),
    );
    return () => void (gone = true);
  }, [entry]);
  if (Ready) return <Ready />;
  return failed ? <Empty title="This page could not be loaded">The server may have been updated or stopped. Reload the page.</Empty> : <Wait lines={8} />;
}

const titleAtStart = document.title.startsWith('@') ? 'Ferula' : document.title;

/** Asks until the server can answer, then once in a while whether it still is there. */
function useReadiness(): Readiness {
  const state = readiness.use();
  useEffect(() => {
    let timer: ReturnType<typeof setTimeout>;
    let stopped = false;
    const ask = async () => {
      let next: Readiness;
      try {
        const response = await fetch(urlOfReady());
        const stopping = response.headers.get('x-prometheus-stopping') === 'true';
        next = response.ok ? 'ready' : response.status === 503 ? (stopping ? 'stopping' : 'starting') : 'ready';
      } catch {
        next = 'away';
      }
      if (stopped) return;
      readiness.set(next);
      timer = setTimeout(ask, next === 'ready' ? 20_000 : 700);
    };
    // When a page was the first to learn that the server is away, it is asked at once and often.
    void ask();
    return () => {
      stopped = true;
      clearTimeout(timer);
    };
  }, [state === 'ready']);
  return state;
}

function Starting({ state }: { state: Readiness }) {
  const replay = useApi<{ min: number; max: number; current: number }>(state === 'starting' ? 'api/v1/status/walreplay' : undefined, {}, 700);
  const { min = 0, max = 0, current = 0 } = replay.answer?.data ?? {};
  const total = Math.max(1, max - min + 1);
  const done = Math.max(0, Math.min(total, current - min));
  return (
    <div class="starting" role="status">
      <Mark class="brand-mark" />
      <h1>{state === 'stopping' ? 'The server is stopping' : 'Starting up'}</h1>
      {state === 'starting' && (
        <>
          <progress max={total} value={replay.answer ? done : undefined} aria-label="Replay of the log" />
          <p class="muted">
            {replay.answer && max > 0
              ? `Replaying the write-ahead log: segment ${Math.max(current, min)} of ${min}–${max}.`
              : 'Reading what was stored before the last stop.'}{' '}
            The page goes on by itself.
          </p>
        </>
      )}
    </div>
  );
}

function Side({ here, ready, open, close }: { here: Entry | undefined; ready: boolean; open: boolean; close: () => void }) {
  const prefs = settings.use();
  const build = useApi<{ version: string; revision: string }>(ready ? 'api/v1/status/buildinfo' : undefined);
  const version = build.answer?.data.revision.replace(/^ferula-/, '');
  return (
    <div class={`side${open ? ' open' : ''}`} id="side">
      <a class="brand" href="query">
        <Mark />
        Ferula
      </a>
      <nav class="nav" aria-label="Pages">
        {GROUPS.map((group) => (
          <section key={group.name}>
            <h2>{group.name}</h2>
            <ul>
              {group.entries.map((entry) => (
                <li key={entry.page}>
                  <a href={entry.page} aria-current={here === entry ? 'page' : undefined} onClick={close}>
                    <Icon name={entry.icon} />
                    {entry.name}
                  </a>
                </li>
              ))}
            </ul>
          </section>
        ))}
      </nav>
      <div class="prefs">
        <Segments
          label="Colours"
          value={prefs.theme}
          onChange={(theme) => change({ theme })}
          options={[
            { value: 'auto', text: 'Auto' },
            { value: 'light', text: 'Light' },
            { value: 'dark', text: 'Dark' },
          ]}
        />
        <Segments
          label="Time zone"
          value={prefs.utc ? 'utc' : 'local'}
          onChange={(zone) => change({ utc: zone === 'utc' })}
          options={[
            { value: 'local', text: 'Local' },
            { value: 'utc', text: 'UTC' },
          ]}
        />
        <p class="about">
          {version ? `Ferula ${version}` : '\u00a0'} · <a href="assets/third-party-licenses.txt" target="_blank">licences</a>
        </p>
      </div>
    </div>
  );
}

/** What the server wants people to know, such as a configuration that did not load. */
function Notifications() {
  const news = useApi<{ text: string; active: boolean }[]>('api/v1/notifications', {}, 30_000);
  const active = Array.isArray(news.answer?.data) ? news.answer.data.filter((n) => n.active) : [];
  if (active.length === 0) return null;
  return (
    <div class="note warn banner" role="status">
      <Icon name="warn" />
      <div>{active.map((n) => <div key={n.text}>{n.text}</div>)}</div>
    </div>
  );
}

export function App() {
  const { page } = place.use();
  const state = useReadiness();
  const [open, setOpen] = useState(false);
  const everReady = useRef(false);
  everReady.current ||= state === 'ready';
  const entry = entryOf(page);
  useEffect(() => {
    if (page === '' || page === 'graph') go(`query${location.search}`, 'replace');
  }, [page]);
  const before = useRef(entry);
  useEffect(() => {
    document.title = `${entry?.name ?? 'Not found'} · ${titleAtStart}`;
    // Whoever goes by keyboard or by ear goes on at the top of the new page; the page of queries chooses for itself.
    if (before.current !== entry && entry?.page !== 'query') document.querySelector('h1')?.focus({ preventScroll: true });
    before.current = entry;
  }, [entry]);
  useEffect(() => {
    if (!open) return;
    const escape = (e: KeyboardEvent) => e.key === 'Escape' && setOpen(false);
    document.addEventListener('keydown', escape);
    return () => document.removeEventListener('keydown', escape);
  }, [open]);
  const waiting = state === 'starting' || state === 'stopping' || (state === 'away' && !everReady.current);
  return (
    <>
      <a class="button skip" href="#main" onClick={(e) => (e.preventDefault(), document.getElementById('main')?.focus())}>
        To the content
      </a>
      <div class="frame">
        <header class="topbar">
          <button type="button" class="button quiet square" aria-label="Menu" aria-expanded={open} aria-controls="side" onClick={() => setOpen(!open)}>
            <Icon name="menu" />
          </button>
          <a class="brand" href="query">
            <Mark />
            Ferula
          </a>
          <span class="here">{entry?.name}</span>
        </header>
        {open && <button type="button" class="veil" aria-label="Close the menu" tabIndex={-1} onClick={() => setOpen(false)} />}
        <Side here={entry} ready={everReady.current} open={open} close={() => setOpen(false)} />
        <main class="main" id="main" tabIndex={-1}>
          {state === 'away' && everReady.current && (
            <div class="note bad banner" role="alert">
              <Icon name="warn" />
              The server does not answer. Trying again…
            </div>
          )}
          {waiting ? (
            state === 'away' ? (
              <Empty title="The server does not answer">Trying again…</Empty>
            ) : (
              <Starting state={state} />
            )
          ) : state === 'unknown' ? (
            <Wait lines={8} />
          ) : (
            <>
              <Notifications />
              {entry ? <View key={entry.page} entry={entry} /> : <Empty title="There is no such page">Choose one from the menu.</Empty>}
            </>
          )}
        </main>
      </div>
    </>
  );
}

