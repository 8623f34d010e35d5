// The query page: panels below each other, and the address that says what is in them.
import { useCallback, useEffect, useRef, useState } from 'preact/hooks';
import { setSearch } from '../lib/location';
import { change, settings } from '../lib/settings';
import { Icon } from '../parts/icons';
import { Page, Popover } from '../parts/parts';
import { Panel } from './panel';
import { newPanel, panelsOf, searchOf, type PanelState } from './panel-state';

const fromAddress = () => {
  const panels = panelsOf(location.search);
  return panels.length > 0 ? panels : [newPanel()];
};

export function QueryPage() {
  const [panels, setPanels] = useState<PanelState[]>(fromAddress);
  const latest = useRef(panels);
  latest.current = panels;
  const put = useCallback((next: PanelState[], how: 'push' | 'replace') => {
    latest.current = next;
    setPanels(next);
    const blank = next.length === 1 && next[0]?.expr === '';
    setSearch(blank ? '' : searchOf(next), how);
  }, []);
  useEffect(() => {
    // Back and forward, and links to this page from this page.
    const onMove = () => {
      if (searchOf(latest.current) !== location.search.slice(1)) setPanels(fromAddress());
    };
    addEventListener('popstate', onMove);
    return () => removeEventListener('popstate', onMove);
  }, []);
  const patch = (id: number, change: Partial<PanelState>, how: 'push' | 'replace' = 'replace') =>
    put(latest.current.map((p) => (p.id === id ? { ...p, ...change } : p)), how);
  return (
    <Page
      title="Query"
      tools={
        <>
          <span class="grow" />
          <Popover icon="config" text="Editor" label="What the editor does">
            {() => <EditorChoices />}
          </Popover>
        </>
      }
    >
      <div class="panels">
        {panels.map((panel, i) => (
          <Panel
            key={panel.id}
            panel={panel}
            single={panels.length === 1}
            autofocus={i === panels.length - 1 && panel.expr === ''}
            update={(change, how) => patch(panel.id, change, how)}
            remove={() => put(panels.filter((p) => p.id !== panel.id), 'push')}
            copy={() => put(panels.flatMap((p) => (p.id === panel.id ? [p, newPanel({ ...p, id: newPanel().id })] : [p])), 'push')}
          />
        ))}
      </div>
      <button type="button" class="button" onClick={() => put([...panels, newPanel()], 'push')}>
        <Icon name="plus" />
        Add a panel
      </button>
    </Page>
  );
}

function EditorChoices() {
  const prefs = settings.use();
  return (
    <div class="choices">
      <label class="check">
        <input type="checkbox" checked={prefs.complete} onChange={(e) => change({ complete: e.currentTarget.checked })} />
        Complete while typing
      </label>
      <label class="check">
        <input type="checkbox" checked={prefs.lint} onChange={(e) => change({ lint: e.currentTarget.checked })} />
        Mark mistakes
      </label>
    </div>
  );
}
