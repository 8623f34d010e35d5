// Alertmanagers: where alerts are sent.
import { useApi } from '../lib/api';
import { Empty, ErrorNote, Page, Refresh, Wait } from '../parts/parts';

interface Managers {
  activeAlertmanagers: { url: string }[];
  droppedAlertmanagers: { url: string }[];
}

export function AlertmanagersPage() {
  const managers = useApi<Managers>('api/v1/alertmanagers');
  const data = managers.answer?.data;
  return (
    <Page
      title="Alertmanagers"
      lead="Where alerts are sent, as the configuration and discovery say."
      tools={
        <>
          <span class="grow" />
          <Refresh loading={managers.loading} onClick={managers.reload} />
        </>
      }
    >
      <ErrorNote error={managers.error} />
      {!data && !managers.error && <Wait lines={4} />}
      {data && (
        <div class="columns">
          <List title="Active" urls={data.activeAlertmanagers} empty="Alerts are not sent anywhere." />
          <List title="Dropped by relabeling" urls={data.droppedAlertmanagers} empty="None." />
        </div>
      )}
    </Page>
  );
}

function List({ title, urls, empty }: { title: string; urls: { url: string }[]; empty: string }) {
  return (
    <section class="card">
      <header>
        <h2>{title}</h2>
        <span class="badge plain">{urls.length}</span>
      </header>
      {urls.length === 0 ? (
        <Empty title={empty} />
      ) : (
        <ul class="pad stack">
          {urls.map(({ url }) => (
            <li key={url} class="mono break">
              {url}
            </li>
          ))}
        </ul>
      )}
    </section>
  );
}
