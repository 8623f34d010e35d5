// Calls to the server: Prometheus's envelope taken off, errors as one type, and the news that the server is not ready yet.
import { useCallback, useEffect, useRef, useState } from 'preact/hooks';
import { urlOf } from './location';
import { store } from './store';

export class ApiError extends Error {
  constructor(
    readonly kind: string,
    message: string,
    readonly status: number,
  ) {
    super(message);
  }
}

export type Params = Record<string, string | string[] | undefined>;

export interface Answer<T> {
  data: T;
  warnings: string[];
  infos: string[];
  /** Members beside `data`, such as `explain`. */
  body: Record<string, unknown>;
  /** From the request to the parsed answer. */
  tookMs: number;
}

/** Is the server there, and can it answer? */
export type Readiness = 'unknown' | 'ready' | 'starting' | 'stopping' | 'away';
export const readiness = store<Readiness>('unknown');

function encoded(params: Params): URLSearchParams {
  const out = new URLSearchParams();
  for (const [name, value] of Object.entries(params)) {
    if (value === undefined) continue;
    for (const one of Array.isArray(value) ? value : [value]) out.append(name, one);
  }
  return out;
}

async function send(path: string, init: RequestInit): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(urlOf(path), { headers: { Accept: 'application/json' }, ...init });
  } catch (error) {
    if ((error as Error).name === 'AbortError') throw error;
    readiness.set('away');
    throw new ApiError('network', 'The server cannot be reached.', 0);
  }
  const stopping = response.headers.get('x-prometheus-stopping');
  if (response.status === 503 && stopping !== null) readiness.set(stopping === 'true' ? 'stopping' : 'starting');
  return response;
}

/** A call whose answer comes in the envelope. */
export async function call<T>(path: string, params: Params = {}, init: RequestInit = {}): Promise<Answer<T>> {
  const started = performance.now();
  const form = encoded(params);
  const post = init.method !== undefined && init.method !== 'GET';
  const query = !post && form.size > 0 ? `?${form}` : '';
  const response = await send(path + query, post ? { ...init, body: form } : init);
  const text = await response.text();
  if (response.status === 204) return { data: undefined as T, warnings: [], infos: [], body: {}, tookMs: performance.now() - started };
  let body: Record<string, unknown>;
  try {
    body = JSON.parse(text) as Record<string, unknown>;
  } catch {
    throw new ApiError('http', text.trim().slice(0, 500) || `${response.status} ${response.statusText}`, response.status);
  }
  if (!response.ok || body.status === 'error') {
    throw new ApiError(String(body.errorType ?? 'http'), String(body.error ?? `${response.status} ${response.statusText}`), response.status);
  }
  return {
    data: (body.data ?? body) as T,
    warnings: (body.warnings as string[] | undefined) ?? [],
    infos: (body.infos as string[] | undefined) ?? [],
    body,
    tookMs: performance.now() - started,
  };
}

/** A call whose answer is a code and a line of text. */
export async function order(path: string, method: string): Promise<void> {
  const response = await send(path, { method });
  if (!response.ok) throw new ApiError('http', (await response.text()).trim() || `${response.status} ${response.statusText}`, response.status);
}

export interface Loaded<T> {
  answer: Answer<T> | undefined;
  error: ApiError | undefined;
  loading: boolean;
  reload: () => void;
}

/**
 * The answer of a call, anew whenever `key` changes; nothing while it is undefined. What was there stays until the next answer or error,
 * so that pages do not jump.
 */
export function useCall<T>(key: string | undefined, make: (signal: AbortSignal) => Promise<Answer<T>>, everyMs = 0): Loaded<T> {
  const [state, setState] = useState<{ key?: string; answer?: Answer<T>; error?: ApiError; loading: boolean }>({ loading: key !== undefined });
  const [round, setRound] = useState(0);
  const latest = useRef(make);
  latest.current = make;
  useEffect(() => {
    if (key === undefined) {
      setState({ loading: false });
      return;
    }
    const abort = new AbortController();
    setState((old) => ({ ...old, loading: true }));
    latest.current(abort.signal).then(
      (answer) => !abort.signal.aborted && setState({ key, answer, loading: false }),
      (reason) => {
        if (abort.signal.aborted) return;
        const error = reason instanceof ApiError ? reason : new ApiError('ui', String(reason), 0);
        setState({ key, error, loading: false });
      },
    );
    return () => abort.abort();
  }, [key, round]);
  useEffect(() => {
    if (!everyMs) return;
    const timer = setInterval(() => document.visibilityState === 'visible' && setRound((n) => n + 1), everyMs);
    return () => clearInterval(timer);
  }, [everyMs]);
  const reload = useCallback(() => setRound((n) => n + 1), []);
  return { answer: state.answer, error: state.error, loading: state.loading, reload };
}

/** The common case: a GET. */
export function useApi<T>(path: string | undefined, params: Params = {}, everyMs = 0): Loaded<T> {
  const key = path === undefined ? undefined : `${path}?${encoded(params)}`;
  return useCall<T>(key, (signal) => call<T>(path ?? '', params, { signal }), everyMs);
}

/** The flags, asked for once: they do not change while the server runs. */
let flagsOnce: Promise<Record<string, string>> | undefined;
export function useFlags(): Record<string, string> | undefined {
  const [flags, setFlags] = useState<Record<string, string>>();
  useEffect(() => {
    flagsOnce ??= call<Record<string, string>>('api/v1/status/flags').then((a) => a.data);
    flagsOnce.then(setFlags, () => (flagsOnce = undefined));
  }, []);
  return flags;
}

export const urlOfReady = () => urlOf('-/ready');
