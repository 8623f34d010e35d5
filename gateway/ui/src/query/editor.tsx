// The PromQL editor: highlighting, completion and checks by Prometheus's own packages, looks by our style sheet.
import { acceptCompletion, autocompletion, closeBrackets, closeBracketsKeymap, closeCompletion, completionKeymap, currentCompletions } from '@codemirror/autocomplete';
import { defaultKeymap, history as undoHistory, historyKeymap, insertNewline } from '@codemirror/commands';
import { bracketMatching, indentOnInput, syntaxHighlighting } from '@codemirror/language';
import { lintKeymap } from '@codemirror/lint';
import { Compartment, EditorState, Prec } from '@codemirror/state';
import { drawSelection, EditorView, keymap, placeholder } from '@codemirror/view';
import { PromQLExtension } from '@prometheus-io/codemirror-promql';
import { useEffect, useRef } from 'preact/hooks';
import { base } from '../lib/location';
import { settings, type Settings } from '../lib/settings';
import { highlight, look, nonce } from './look';

function language(prefs: Settings) {
  const promql = new PromQLExtension();
  if (prefs.complete) {
    promql.activateCompletion(true);
    promql.setComplete({ remote: { url: base.href.replace(/\/$/, ''), httpMethod: 'GET', cache: { maxAge: 60_000 } } });
  } else {
    promql.activateCompletion(false);
  }
  promql.activateLinter(prefs.lint);
  return promql.asExtension();
}

export interface EditorHandle {
  text(): string;
  setText(text: string): void;
  insert(text: string): void;
  focus(): void;
}

export function Editor(props: { initial: string; autofocus?: boolean; onRun: (text: string) => void; onChange: (text: string) => void; handle: { current: EditorHandle | null } }) {
  const place = useRef<HTMLDivElement>(null);
  const latest = useRef(props);
  latest.current = props;
  useEffect(() => {
    const dynamic = new Compartment();
    const run = (view: EditorView) => {
      // A list that is still on its way would cover the answer.
      closeCompletion(view);
      latest.current.onRun(view.state.doc.toString());
      return true;
    };
    const view = new EditorView({
      parent: place.current ?? undefined,
      state: EditorState.create({
        doc: props.initial,
        extensions: [
          nonce(),
          look,
          syntaxHighlighting(highlight),
          undoHistory(),
          drawSelection(),
          indentOnInput(),
          bracketMatching(),
          closeBrackets(),
          autocompletion({ maxRenderedOptions: 80, icons: false }),
          EditorView.lineWrapping,
          placeholder('Expression, for example  rate(prometheus_http_requests_total[5m])'),
          EditorView.contentAttributes.of({ 'aria-label': 'PromQL expression', spellcheck: 'false' }),
          dynamic.of(language(settings.get())),
          keymap.of([...closeBracketsKeymap, ...defaultKeymap, ...historyKeymap, ...completionKeymap, ...lintKeymap]),
          Prec.highest(
            keymap.of([
              { key: 'Enter', run: (view) => (currentCompletions(view.state).length > 0 ? (acceptCompletion(view), true) : run(view)), shift: insertNewline },
              { key: 'Mod-Enter', run },
            ]),
          ),
          EditorView.updateListener.of((update) => update.docChanged && latest.current.onChange(update.state.doc.toString())),
        ],
      }),
    });
    props.handle.current = {
      text: () => view.state.doc.toString(),
      setText: (text) => view.dispatch({ changes: { from: 0, to: view.state.doc.length, insert: text }, selection: { anchor: text.length } }),
      insert: (text) => {
        view.dispatch(view.state.replaceSelection(text));
        view.focus();
      },
      focus: () => view.focus(),
    };
    if (props.autofocus) view.focus();
    const unwatch = settings.watch((prefs) => view.dispatch({ effects: dynamic.reconfigure(language(prefs)) }));
    return () => {
      unwatch();
      view.destroy();
    };
  }, []);
  return <div class="editor" ref={place} />;
}
