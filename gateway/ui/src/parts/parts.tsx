// The small parts that pages are made of.
import { Fragment, type ComponentChildren } from 'preact';
import { useEffect, useId, useRef, useState } from 'preact/hooks';
import type { ApiError } from '../lib/api';
import { quoted, labelName } from '../lib/format';
import type { Labels } from '../lib/types';
import { Icon, type IconName } from './icons';

export function Page({ title, lead, tools, children }: { title: string; lead?: ComponentChildren; tools?: ComponentChildren; children: ComponentChildren }) {
  return (
    <div class="page">
      <div class="page-head">
        <h1 tabIndex={-1}>{title}</h1>
        {tools}
      </div>
      {lead && <p class="page-lead">{lead}</p>}
      {children}
    </div>
  );
}

export function Search({ value, onInput, label }: { value: string; onInput: (text: string) => void; label: string }) {
  return (
    <div class="search">
      <Icon name="search" />
      <input class="input" type="search" value={value} placeholder={label} aria-label={label} spellcheck={false} onInput={(e) => onInput(e.currentTarget.value)} />
    </div>
  );
}

/** A choice of a few, all visible. */
export function Segments<T extends string>(props: {
  label: string;
  value: T;
  options: { value: T; text: string; icon?: IconName; disabled?: boolean; title?: string }[];
  onChange: (value: T) => void;
}) {
  return (
    <div class="segments" role="group" aria-label={props.label}>
      {props.options.map((o) => (
        <button type="button" key={o.value} aria-pressed={o.value === props.value} disabled={o.disabled} title={o.title} onClick={() => props.onChange(o.value)}>
          {o.icon && <Icon name={o.icon} />}
          <span>{o.text}</span>
        </button>
      ))}
    </div>
  );
}

export function IconButton({ icon, label, onClick, danger }: { icon: IconName; label: string; onClick: () => void; danger?: boolean }) {
  return (
    <button type="button" class={`button quiet square${danger ? ' danger' : ''}`} aria-label={label} title={label} onClick={onClick}>
      <Icon name={icon} />
    </button>
  );
}

export function Refresh({ loading, onClick }: { loading: boolean; onClick: () => void }) {
  return (
    <button type="button" class="button" onClick={onClick} aria-busy={loading}>
      <Icon name="refresh" />
      Refresh
    </button>
  );
}

export function ErrorNote({ error, what }: { error: ApiError | undefined; what?: string }) {
  if (!error) return null;
  return (
    <div class="note bad" role="alert">
      <Icon name="warn" />
      <div class="grow">
        <strong>{what ?? words(error)}</strong>
        <pre>{error.message}</pre>
      </div>
    </div>
  );
}

function words(error: ApiError): string {
  const known: Record<string, string> = {
    bad_data: 'The request was refused',
    execution: 'The query failed',
    timeout: 'It took too long',
    canceled: 'It was cancelled',
    internal: 'The server has a problem',
    unavailable: 'Not available here',
    not_found: 'No such thing',
    network: 'No connection',
  };
  return known[error.kind] ?? `Error ${error.status}`;
}

export function Warnings({ warnings, infos }: { warnings: string[]; infos: string[] }) {
  if (warnings.length + infos.length === 0) return null;
  return (
    <div class="stack">
      {warnings.map((text) => (
        <div class="note warn" key={text}>
          <Icon name="warn" />
          <span>{text}</span>
        </div>
      ))}
      {infos.map((text) => (
        <div class="note info" key={text}>
          <Icon name="info" />
          <span>{text}</span>
        </div>
      ))}
    </div>
  );
}

export function Empty({ title, children }: { title: string; children?: ComponentChildren }) {
  return (
    <div class="empty">
      <strong>{title}</strong>
      {children && <p>{children}</p>}
    </div>
  );
}

/** Grey lines of the height that the content will have. */
export function Wait({ lines = 6 }: { lines?: number }) {
  return (
    <div class="wait" role="status" aria-label="Loading">
      {Array.from({ length: lines }, (_, i) => (
        <i key={i} style={{ width: `${[92, 74, 83, 66, 88, 58][i % 6]}%` }} />
      ))}
    </div>
  );
}

/** A name that may be broken behind `_`, `.`, `:` and `-`, not anywhere. */
export function Breakable({ text }: { text: string }) {
  const parts = text.split(/(?<=[_.:\-/=])(?=[^_.:\-/=])/);
  return (
    <>
      {parts.map((part, i) => (
        <Fragment key={i}>
          {i > 0 && <wbr />}
          {part}
        </Fragment>
      ))}
    </>
  );
}

/** Labels as small plates. */
export function LabelPlates({ labels, skip = [] }: { labels: Labels; skip?: string[] }) {
  const pairs = Object.entries(labels).filter(([name]) => !skip.includes(name));
  if (pairs.length === 0) return <span class="muted">–</span>;
  return (
    <span class="labels">
      {pairs.map(([name, value]) => (
        <span class="label" key={name}>
          <b>{name}</b>
          <i>=</i>
          {quoted(value)}
        </span>
      ))}
    </span>
  );
}

/** A series as PromQL writes it. */
export function Series({ labels }: { labels: Labels }) {
  const { __name__: name, ...rest } = labels;
  const pairs = Object.entries(rest);
  return (
    <span class="series">
      {name !== undefined && <b>{name}</b>}
      {(pairs.length > 0 || name === undefined) && <><span class="p">{'{'}</span><wbr /></>}
      {pairs.map(([n, v], i) => (
        <span key={n}>
          {i > 0 && <span class="p">, </span>}
          <span class="n">{labelName(n)}</span>
          <span class="p">=</span>
          <span class="v">{quoted(v)}</span>
        </span>
      ))}
      {(pairs.length > 0 || name === undefined) && <span class="p">{'}'}</span>}
    </span>
  );
}

/** A window above the page, closed by Escape, by its button, or by a click beside it. */
export function Dialog({ title, onClose, children, footer, narrow }: { title: ComponentChildren; narrow?: boolean; onClose: () => void; children: ComponentChildren; footer?: ComponentChildren }) {
  const element = useRef<HTMLDialogElement>(null);
  const id = useId();
  useEffect(() => element.current?.showModal(), []);
  return (
    <dialog
      ref={element}
      class={narrow ? 'narrow' : undefined}
      aria-labelledby={id}
      onClose={onClose}
      onClick={(e) => e.target === e.currentTarget && e.currentTarget.close()}
    >
      <header>
        <h2 class="grow" id={id}>
          {title}
        </h2>
        <IconButton icon="close" label="Close" onClick={() => element.current?.close()} />
      </header>
      <div class="body">{children}</div>
      {footer && <footer>{footer}</footer>}
    </dialog>
  );
}

/** Asks before something is done that cannot be undone. */
export function Confirm(props: { title: string; action: string; onClose: () => void; run: () => Promise<void>; children: ComponentChildren }) {
  const [error, setError] = useState<ApiError>();
  const [busy, setBusy] = useState(false);
  const run = async () => {
    setBusy(true);
    try {
      await props.run();
      props.onClose();
    } catch (reason) {
      setError(reason as ApiError);
      setBusy(false);
    }
  };
  const footer = (
    <>
      <button type="button" class="button" onClick={props.onClose}>
        Keep it
      </button>
      <button type="button" class="button danger" disabled={busy} onClick={run}>
        {props.action}
      </button>
    </>
  );
  return (
    <Dialog narrow title={props.title} onClose={props.onClose} footer={footer}>
      <div class="stack">
        {props.children}
        <ErrorNote error={error} />
      </div>
    </Dialog>
  );
}

/** A button that opens something below it. */
export function Popover({ icon, text, label, children }: { icon: IconName; text?: string; label: string; children: (close: () => void) => ComponentChildren }) {
  const [open, setOpen] = useState(false);
  const root = useRef<HTMLDivElement>(null);
  useEffect(() => {
    if (!open) return;
    const outside = (e: Event) => root.current?.contains(e.target as Node) || setOpen(false);
    const escape = (e: KeyboardEvent) => e.key === 'Escape' && setOpen(false);
    document.addEventListener('pointerdown', outside);
    document.addEventListener('keydown', escape);
    return () => {
      document.removeEventListener('pointerdown', outside);
      document.removeEventListener('keydown', escape);
    };
  }, [open]);
  return (
    <div ref={root} style={{ position: 'relative' }}>
      <button type="button" class={`button quiet${text ? '' : ' square'}`} aria-expanded={open} aria-label={text ? undefined : label} title={label} onClick={() => setOpen(!open)}>
        <Icon name={icon} />
        {text}
      </button>
      {open && <div class="popover">{children(() => setOpen(false))}</div>}
    </div>
  );
}

export function Copy({ text, label = 'Copy' }: { text: string; label?: string }) {
  const [done, setDone] = useState(false);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      // Without TLS browsers keep the clipboard to themselves; the old way still works.
      const area = document.createElement('textarea');
      area.value = text;
      document.body.append(area);
      area.select();
      document.execCommand('copy');
      area.remove();
    }
    setDone(true);
    setTimeout(() => setDone(false), 1500);
  };
  return (
    <button type="button" class="button" onClick={copy}>
      <Icon name="copy" />
      <span aria-live="polite">{done ? 'Copied' : label}</span>
    </button>
  );
}

/** Long lists in pieces: the first part, and a button for more. */
export function useLimited<T>(items: T[], step: number): [T[], ComponentChildren] {
  const [limit, setLimit] = useState(step);
  const rest = items.length - limit;
  const more = rest > 0 && (
    <div class="row" style={{ padding: '8px 12px' }}>
      <span class="muted">
        {limit} of {items.length} shown.
      </span>
      <button type="button" class="button" onClick={() => setLimit(limit + step * 4)}>
        Show {Math.min(rest, step * 4)} more
      </button>
    </div>
  );
  return [items.slice(0, limit), more];
}

export function Meter({ share }: { share: number }) {
  return (
    <span class="meter" aria-hidden="true">
      <i style={{ width: `${Math.max(0, Math.min(1, share)) * 100}%` }} />
    </span>
  );
}
