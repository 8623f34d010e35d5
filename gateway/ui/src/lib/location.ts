// Pages and addresses. Every page lies directly below the base, so that the UI works under any prefix without being told of it.
import { store } from './store';

/** The directory that the UI is served from, with a slash at its end. */
export const base = new URL('.', document.baseURI);

export interface Place {
  page: string;
  search: string;
}

const here = (): Place => ({ page: location.pathname.slice(base.pathname.length).replace(/\/+$/, ''), search: location.search });

export const place = store<Place>(here());
addEventListener('popstate', () => place.set(here()));

/** The address of something below the base. */
export const urlOf = (path: string) => new URL(path, base).href;

/** Goes to a page, `query?g0.expr=up` for example. */
export function go(to: string, how: 'push' | 'replace' = 'push') {
  const url = urlOf(to);
  if (how === 'push') window.history.pushState(null, '', url);
  else window.history.replaceState(null, '', url);
  place.set(here());
  if (how === 'push') scrollTo(0, 0);
}

/** Changes the address of the page one is on, without telling anybody. */
export function setSearch(search: string, how: 'push' | 'replace') {
  const url = new URL(location.href);
  url.search = search;
  if (url.href === location.href) return;
  if (how === 'push') window.history.pushState(null, '', url);
  else window.history.replaceState(null, '', url);
}

/** Plain clicks on links to pages of the UI stay inside it. */
export function followLinks(isPage: (page: string) => boolean) {
  document.addEventListener('click', (event) => {
    if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    const link = (event.target as Element | null)?.closest?.('a');
    if (!link || link.target || link.hasAttribute('download') || link.origin !== base.origin) return;
    if (!link.pathname.startsWith(base.pathname)) return;
    const page = link.pathname.slice(base.pathname.length);
    if (!isPage(page)) return;
    event.preventDefault();
    go(page + link.search);
  });
}

/** The address of the query page with one panel. */
export function queryLink(expr: string, more: Record<string, string> = {}) {
  const params = new URLSearchParams({ 'g0.expr': expr, 'g0.tab': 'table' });
  for (const [name, value] of Object.entries(more)) params.set(`g0.${name}`, value);
  return `query?${params}`;
}
