/**
 * Every chunk of a run as one square, up to ten thousand and more: drawn on a canvas, walked through with the arrow
 * keys, each told in words.
 */
import { Group, Text } from '@mantine/core';
import { useElementSize } from '@mantine/hooks';
import { useEffect, useRef, useState, type KeyboardEvent, type PointerEvent } from 'react';
import { count, plural } from '../lib/format.ts';
import { chunkStates, stateOfLetter, type RunProgress } from '../lib/run.ts';
import './ChunkGrid.css';

export interface ChunkGridProps {
  readonly run: Pick<RunProgress, 'states' | 'chunkRows' | 'chunks'>;
}

interface Layout {
  readonly columns: number;
  /** Of a square with its gap, in CSS pixels. */
  readonly step: number;
}

const mostHeight = 320;

/** The largest squares with which all chunks fit into the room. */
function layoutOf(chunks: number, width: number): Layout {
  for (let step = 22; step > 3; step--) {
    const columns = Math.max(1, Math.floor(width / step));
    if (Math.ceil(chunks / columns) * step <= mostHeight) return { columns, step };
  }
  return { columns: Math.max(1, Math.floor(width / 3)), step: 3 };
}

export function ChunkGrid({ run }: ChunkGridProps) {
  const { ref, width } = useElementSize<HTMLDivElement>();
  const canvas = useRef<HTMLCanvasElement>(null);
  const [at, setAt] = useState(0);
  const [isPointed, setIsPointed] = useState(false);
  const total = run.states.length;
  const layout = layoutOf(total, width === 0 ? 600 : width);
  const height = Math.ceil(total / layout.columns) * layout.step;
  useEffect(() => {
    if (canvas.current !== null) draw(canvas.current, run.states, layout, isPointed ? at : undefined);
  });
  const onKeyDown = (event: KeyboardEvent) => {
    const step = {
      ArrowRight: 1,
      ArrowLeft: -1,
      ArrowDown: layout.columns,
      ArrowUp: -layout.columns,
      Home: -total,
      End: total,
    }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    setIsPointed(true);
    setAt((old) => Math.min(total - 1, Math.max(0, old + step)));
  };
  const onPointerMove = (event: PointerEvent<HTMLCanvasElement>) => {
    const box = event.currentTarget.getBoundingClientRect();
    const column = Math.floor((event.clientX - box.left) / layout.step);
    const chunk = Math.floor((event.clientY - box.top) / layout.step) * layout.columns + column;
    const isOn = column < layout.columns && chunk >= 0 && chunk < total;
    setIsPointed(isOn);
    if (isOn) setAt(chunk);
  };
  const told = `Chunk ${at}: ${stateOfLetter(run.states[at])}, ${plural(run.chunkRows[at] ?? 0, 'row')}`;
  return (
    <div>
      <Group gap="md" mb="xs">
        {chunkStates
          .filter(({ state }) => run.chunks[state] > 0)
          .map(({ state }) => (
            <Group key={state} gap={6}>
              <span className={`chunk-swatch chunk-${state}`} aria-hidden />
              <Text size="sm">
                {count(run.chunks[state])} {state}
              </Text>
            </Group>
          ))}
      </Group>
      <div ref={ref}>
        <canvas
          ref={canvas}
          className="chunk-canvas"
          width={width}
          height={height}
          tabIndex={0}
          role="slider"
          aria-label="Chunk"
          aria-valuemin={0}
          aria-valuemax={Math.max(0, total - 1)}
          aria-valuenow={at}
          aria-valuetext={told}
          onKeyDown={onKeyDown}
          onFocus={() => setIsPointed(true)}
          onBlur={() => setIsPointed(false)}
          onPointerMove={onPointerMove}
          onPointerLeave={() => setIsPointed(false)}
        />
      </div>
      <Text size="sm" c="dimmed" mt={4} className="chunk-told">
        {isPointed ? told : `${plural(total, 'chunk')}. Point at one, or move with the arrow keys.`}
      </Text>
    </div>
  );
}

function draw(canvas: HTMLCanvasElement, states: string, { columns, step }: Layout, marked: number | undefined): void {
  const context = canvas.getContext('2d');
  if (context === null) return;
  const ratio = window.devicePixelRatio;
  const { clientWidth: width, clientHeight: height } = canvas;
  canvas.width = width * ratio;
  canvas.height = height * ratio;
  context.scale(ratio, ratio);
  const style = getComputedStyle(canvas);
  const gap = step > 8 ? 2 : step > 4 ? 1 : 0;
  for (const { letter, state } of chunkStates) {
    context.fillStyle = style.getPropertyValue(`--chunk-${state}`);
    for (let chunk = states.indexOf(letter); chunk !== -1; chunk = states.indexOf(letter, chunk + 1)) {
      context.fillRect((chunk % columns) * step, Math.floor(chunk / columns) * step, step - gap, step - gap);
    }
  }
  if (marked === undefined) return;
  context.strokeStyle = style.getPropertyValue('--chunk-mark');
  context.lineWidth = 2;
  context.strokeRect((marked % columns) * step, Math.floor(marked / columns) * step, step - gap, step - gap);
}
