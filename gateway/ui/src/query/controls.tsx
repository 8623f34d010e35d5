// The controls of range, moment and resolution.
import { useEffect, useRef, useState } from 'preact/hooks';
import { settings } from '../lib/settings';
import { formatDuration, formatMoment, parseDuration, parseMoment } from '../lib/time';
import { Icon } from '../parts/icons';
import { longerRange, shorterRange, type Density, type PanelState, type Resolution } from './panel-state';

/** A text field that takes effect on Enter or when it is left, and says when it cannot be read. */
function Field(props: { label: string; text: string; placeholder?: string; width: string; read: (text: string) => boolean }) {
  const [draft, setDraft] = useState(props.text);
  const [bad, setBad] = useState(false);
  useEffect(() => {
    setDraft(props.text);
    setBad(false);
  }, [props.text]);
  const apply = () => {
    if (draft === props.text) return;
    setBad(!props.read(draft));
  };
  return (
    <input
      class="input"
      type="text"
      aria-label={props.label}
      title={props.label}
      aria-invalid={bad}
      value={draft}
      placeholder={props.placeholder}
      spellcheck={false}
      autocomplete="off"
      style={{ width: props.width }}
      onInput={(e) => (setDraft(e.currentTarget.value), setBad(false))}
      onBlur={apply}
      onKeyDown={(e) => e.key === 'Enter' && apply()}
    />
  );
}

export function RangeControl({ ms, onChange }: { ms: number; onChange: (ms: number) => void }) {
  const read = (text: string) => {
    const parsed = parseDuration(text);
    if (!parsed) return false;
    onChange(parsed);
    return true;
  };
  return (
    <div class="joined" role="group" aria-label="Range">
      <button type="button" class="button square" aria-label="Shorter range" title="Shorter range" onClick={() => onChange(shorterRange(ms))}>
        <Icon name="minus" />
      </button>
      <Field label="Range" text={formatDuration(ms)} width="76px" read={read} />
      <button type="button" class="button square" aria-label="Longer range" title="Longer range" onClick={() => onChange(longerRange(ms))}>
        <Icon name="plus" />
      </button>
    </div>
  );
}

export function MomentControl(props: { label: string; ms: number | null; stepMs: number; onChange: (ms: number | null) => void }) {
  const { utc } = settings.use();
  const picker = useRef<HTMLInputElement>(null);
  const { ms, stepMs, onChange } = props;
  const read = (text: string) => {
    if (text.trim() === '' || text.trim() === 'now') return onChange(null), true;
    const parsed = parseMoment(text, utc);
    if (parsed === undefined) return false;
    onChange(parsed);
    return true;
  };
  const move = (by: number) => onChange((ms ?? Date.now()) + by);
  const shown = ms === null ? '' : formatMoment(ms, utc);
  return (
    <div class="joined moment" role="group" aria-label={props.label}>
      <button type="button" class="button square" aria-label="Earlier" title="Earlier" onClick={() => move(-stepMs)}>
        <Icon name="left" />
      </button>
      <Field label={`${props.label}, ${utc ? 'UTC' : 'local time'}`} text={shown} placeholder="now" width="166px" read={read} />
      <button type="button" class="button square pick" aria-label="Choose from a calendar" title="Choose from a calendar" onClick={() => picker.current?.showPicker()}>
        <Icon name="calendar" />
        <input
          ref={picker}
          type="datetime-local"
          step={1}
          tabIndex={-1}
          aria-hidden="true"
          value={formatMoment(ms ?? Date.now(), utc).replace(' ', 'T')}
          onChange={(e) => read(e.currentTarget.value)}
        />
      </button>
      {ms !== null && (
        <button type="button" class="button square" aria-label="Back to now" title="Back to now" onClick={() => onChange(null)}>
          <Icon name="close" />
        </button>
      )}
      <button type="button" class="button square" aria-label="Later" title="Later" disabled={ms === null} onClick={() => move(stepMs)}>
        <Icon name="right" />
      </button>
    </div>
  );
}

const FIXED = ['5s', '10s', '30s', '1m', '5m', '15m', '1h', '6h', '1d'];

export function ResolutionControl({ panel, stepMs, onChange }: { panel: PanelState; stepMs: number; onChange: (resolution: Resolution) => void }) {
  const { resolution } = panel;
  const fixed = resolution.type === 'fixed' ? formatDuration(resolution.stepMs) : '';
  const value = resolution.type === 'auto' ? resolution.density : resolution.type === 'custom' ? 'custom' : fixed;
  const choose = (text: string) => {
    if (text === 'low' || text === 'medium' || text === 'high') onChange({ type: 'auto', density: text satisfies Density });
    else if (text === 'custom') onChange({ type: 'custom', stepMs });
    else onChange({ type: 'fixed', stepMs: parseDuration(text) ?? stepMs });
  };
  const read = (text: string) => {
    const parsed = parseDuration(/^\d+(\.\d+)?$/.test(text.trim()) ? `${text.trim()}s` : text);
    if (!parsed) return false;
    onChange({ type: 'custom', stepMs: parsed });
    return true;
  };
  return (
    <div class={resolution.type === 'custom' ? 'joined' : 'plain'}>
      <select class="input" aria-label="Resolution" title={`Resolution: a value every ${formatDuration(stepMs)}`} value={value} onChange={(e) => choose(e.currentTarget.value)}>
        <optgroup label="By range">
          <option value="low">Low res.</option>
          <option value="medium">Medium res.</option>
          <option value="high">High res.</option>
        </optgroup>
        <optgroup label="Step">
          {(FIXED.includes(fixed) || !fixed ? FIXED : [fixed, ...FIXED]).map((text) => (
            <option key={text} value={text}>
              {text} step
            </option>
          ))}
          <option value="custom">Custom step</option>
        </optgroup>
      </select>
      {resolution.type === 'custom' && <Field label="Step" text={formatDuration(resolution.stepMs)} width="72px" read={read} />}
    </div>
  );
}
