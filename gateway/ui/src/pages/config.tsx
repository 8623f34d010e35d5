// The configuration in force, secrets left out by the server.
import { yaml } from '@codemirror/lang-yaml';
import { foldGutter, syntaxHighlighting } from '@codemirror/language';
import { EditorState } from '@codemirror/state';
import { EditorView, lineNumbers } from '@codemirror/view';
import { useEffect, useRef } from 'preact/hooks';
import { useApi } from '../lib/api';
import { Copy, ErrorNote, Page, Wait } from '../parts/parts';
import { highlight, look, nonce } from '../query/look';

export function ConfigPage() {
  const config = useApi<{ yaml: string }>('api/v1/status/config');
  const text = config.answer?.data.yaml;
  return (
    <Page
      title="Configuration"
      lead="As it is in force, with defaults filled in and secrets left out."
      tools={
        <>
          <span class="grow" />
          {text !== undefined && <Copy text={text} />}
        </>
      }
    >
      <ErrorNote error={config.error} />
      {text === undefined && !config.error && <Wait lines={12} />}
      {text !== undefined && <Yaml text={text} />}
    </Page>
  );
}

function Yaml({ text }: { text: string }) {
  const place = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const view = new EditorView({
      parent: place.current ?? undefined,
      state: EditorState.create({
        doc: text,
        extensions: [
          nonce(),
          look,
          yaml(),
          syntaxHighlighting(highlight),
          lineNumbers(),
          foldGutter(),
          EditorView.lineWrapping,
          EditorState.readOnly.of(true),
          EditorView.contentAttributes.of({ 'aria-label': 'Configuration', 'aria-readonly': 'true' }),
        ],
      }),
    });
    return () => view.destroy();
  }, [text]);
  return <div class="card yaml" ref={place} />;
}
