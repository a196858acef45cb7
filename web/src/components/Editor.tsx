/** A definition that is being edited: CodeMirror, with this page's nonce for its styles. What would not be seen is shown. */
import { defaultKeymap, history, historyKeymap, indentWithTab } from '@codemirror/commands';
import { yaml } from '@codemirror/lang-yaml';
import { syntaxHighlighting } from '@codemirror/language';
import { StateEffect, StateField } from '@codemirror/state';
import {
  Decoration,
  EditorView,
  highlightSpecialChars,
  keymap,
  lineNumbers,
  type DecorationSet,
} from '@codemirror/view';
import { classHighlighter } from '@lezer/highlight';
import { useEffect, useRef } from 'react';
import { styleNonce } from '../lib/nonce.ts';
import './Editor.css';

const setMarked = StateEffect.define<readonly number[]>();
const markedLine = Decoration.line({ class: 'editor-wrong', attributes: { 'aria-invalid': 'true' } });
const marked = StateField.define<DecorationSet>({
  create: () => Decoration.none,
  update: (old, transaction) => {
    const effect = transaction.effects.find((one) => one.is(setMarked));
    if (effect === undefined) return old.map(transaction.changes);
    const { doc } = transaction.state;
    const lines = [...new Set(effect.value)].filter((line) => line >= 1 && line <= doc.lines).sort((a, b) => a - b);
    return Decoration.set(lines.map((line) => markedLine.range(doc.line(line).from)));
  },
  provide: (field) => EditorView.decorations.from(field),
});

export interface EditorProps {
  /** What it begins with; a later change does not replace what was typed. */
  readonly initial: string;
  readonly label: string;
  readonly onChange: (text: string) => void;
  /** Lines (from 1) that something is wrong with. */
  readonly wrongLines: readonly number[];
}

export function Editor({ initial, label, onChange, wrongLines }: EditorProps) {
  const place = useRef<HTMLDivElement>(null);
  const view = useRef<EditorView>(undefined);
  const told = useRef(onChange);
  told.current = onChange;
  useEffect(() => {
    if (place.current === null) return undefined;
    view.current = new EditorView({
      doc: initial,
      extensions: [
        EditorView.cspNonce.of(styleNonce()),
        lineNumbers(),
        highlightSpecialChars(),
        syntaxHighlighting(classHighlighter),
        EditorView.lineWrapping,
        EditorView.contentAttributes.of({ 'aria-label': label }),
        yaml(),
        marked,
        history(),
        // Tab indents; Escape, then Tab, leaves.
        keymap.of([indentWithTab, ...defaultKeymap, ...historyKeymap]),
        EditorView.updateListener.of((update) => {
          if (update.docChanged) told.current(update.state.doc.toString());
        }),
      ],
      parent: place.current,
    });
    return () => view.current?.destroy();
    // oxlint-disable-next-line react-hooks/exhaustive-deps -- the text is the editor's own from here on
  }, [label]);
  useEffect(() => {
    view.current?.dispatch({ effects: setMarked.of(wrongLines) });
  }, [wrongLines]);
  return <div ref={place} className="editor" />;
}
