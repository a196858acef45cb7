/** The pieces of a plan as bars: how many, how even, and how many rows the target expects in the first, middle and last. */
import { Group, Text } from '@mantine/core';
import { chunkBars, skewOf, type ChunkBar } from '../../lib/chunk-widths.ts';
import { bytes, count, plural } from '../../lib/format.ts';
import type { Plan } from '../../lib/requests.ts';
import { Section } from '../Section.tsx';

const height = 84;
const barWidth = 10;
const gap = 3;
/** A bar of unknown width is drawn this high, and hatched. */
const unknownShare = 0.5;
const evenSkew = 1.5;

export function ChunkPicture({ plan }: { readonly plan: Plan }) {
  const bars = chunkBars(plan.chunks);
  const skew = skewOf(bars);
  const key = plan.key.map(({ column, type }) => `${column} (${type})`).join(', ');
  const evenness =
    skew === undefined
      ? 'how even the ranges are cannot be measured for this key'
      : skew <= evenSkew
        ? 'the ranges of keys are about equally wide'
        : `the widest range of keys is ${skew < 10 ? skew.toFixed(1) : Math.round(skew)} times the narrowest`;
  const { first, middle, last } = plan.explain;
  const summary = `${plural(plan.chunks.length, 'chunk')}${key === '' ? '' : ` by ${key}`}; ${evenness}.`;
  return (
    <Section title="Chunks" hint={`${plan.strategy}: ${plan.reason}`}>
      <Bars bars={bars} label={summary} />
      <Text size="sm">{summary}</Text>
      <Group gap="xl">
        {(
          [
            ['first', first],
            ['middle', middle],
            ['last', last],
          ] as const
        ).map(([which, node]) => (
          <div key={which}>
            <Text size="xs" c="dimmed">
              {which} chunk
            </Text>
            <Text size="sm">≈ {count(node.rows)} rows</Text>
            <Text size="xs" c="dimmed">
              {node.node}
              {node.index !== undefined && ` on ${node.index}`}
            </Text>
          </div>
        ))}
        <div>
          <Text size="xs" c="dimmed">
            in all
          </Text>
          <Text size="sm">≈ {count(plan.estimatedRows)} rows</Text>
          <Text size="xs" c="dimmed">
            {bytes(plan.estimatedBytes)}
          </Text>
        </div>
      </Group>
      {plan.warnings.map((warning) => (
        <Text key={warning} size="sm" className="soon">
          {warning}
        </Text>
      ))}
    </Section>
  );
}

function Bars({ bars, label }: { readonly bars: readonly ChunkBar[]; readonly label: string }) {
  const width = bars.length * (barWidth + gap) + gap;
  return (
    <svg
      role="img"
      aria-label={label}
      viewBox={`0 0 ${width} ${height}`}
      preserveAspectRatio="none"
      className="chunk-bars"
      width="100%"
      height={height}
    >
      <defs>
        <pattern id="hatch" width="4" height="4" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
          <rect width="2" height="4" className="hatch" />
        </pattern>
      </defs>
      {bars.map((bar, index) => {
        const barHeight = Math.max(3, (bar.share ?? unknownShare) * (height - 4));
        return (
          <rect
            key={bar.from}
            x={gap + index * (barWidth + gap)}
            y={height - barHeight}
            width={barWidth}
            height={barHeight}
            rx={1.5}
            className={bar.share === undefined ? 'bar-unknown' : 'bar'}
          >
            <title>{titleOf(bar)}</title>
          </rect>
        );
      })}
    </svg>
  );
}

function titleOf({ from, to, share, isNulls }: ChunkBar): string {
  const which = from === to ? `chunk ${from}` : `chunks ${from} to ${to}`;
  if (isNulls) return `${which}: rows whose key is NULL`;
  return share === undefined
    ? `${which}: open at one end, or not to be measured`
    : `${which}: ${Math.round(share * 100)} % of the widest`;
}
