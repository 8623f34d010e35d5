// The command line in force.
import { useState } from 'preact/hooks';
import { useApi } from '../lib/api';
import { Breakable, Empty, ErrorNote, Page, Search, Wait } from '../parts/parts';

export function FlagsPage() {
  const flags = useApi<Record<string, string>>('api/v1/status/flags');
  const [text, setText] = useState('');
  const all = Object.entries(flags.answer?.data ?? {}).sort(([a], [b]) => (a < b ? -1 : 1));
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const fits = all.filter(([name, value]) => words.every((word) => `--${name}=${value}`.toLowerCase().includes(word)));
  return (
    <Page title="Flags" lead="The command line in force, defaults included." tools={<Search value={text} onInput={setText} label="Part of a flag or of its value" />}>
      <ErrorNote error={flags.error} />
      {!flags.answer && !flags.error && <Wait lines={12} />}
      {flags.answer && (
        <div class="card">
          {fits.length === 0 ? (
            <Empty title="No flag fits" />
          ) : (
            <table class="table fixed flags">
              <thead>
                <tr>
                  <th scope="col">Flag</th>
                  <th scope="col">Value</th>
                </tr>
              </thead>
              <tbody>
                {fits.map(([name, value]) => (
                  <tr key={name}>
                    <td class="mono break">
                      <Breakable text={`--${name}`} />
                    </td>
                    <td class="mono break">{value === '' ? <span class="muted">empty</span> : value}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          )}
        </div>
      )}
    </Page>
  );
}
