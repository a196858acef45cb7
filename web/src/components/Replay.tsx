/** A session as it was: a time line to move on, and at each moment what was asked and what was delivered, masked as it was then. */
import { ActionIcon, Button, Group, Paper, SegmentedControl, Slider, Stack, Text, Title, Tooltip } from '@mantine/core';
import { IconPlayerPause, IconPlayerPlay, IconPlayerSkipBack, IconPlayerSkipForward } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { useEffect, useMemo, useState } from 'react';
import { count } from '../lib/format.ts';
import type { Recording, Scene } from '../lib/recording.ts';
import { readRecording } from '../lib/replay.ts';
import { Loaded } from './Loaded.tsx';
import { SceneView } from './SceneView.tsx';
import './Replay.css';

export interface ReplayProps {
  readonly sessionId: string;
  readonly startedAt: string;
  /** Where to go; each turn is a new wish. */
  readonly seek: { readonly ms: number; readonly turn: number } | undefined;
}

export function Replay({ sessionId, startedAt, seek }: ReplayProps) {
  const [isAsked, setIsAsked] = useState(false);
  const [lines, setLines] = useState(0);
  const query = useQuery({
    queryKey: ['replay', sessionId],
    queryFn: ({ signal }) => readRecording(sessionId, signal, setLines),
    enabled: isAsked || seek !== undefined,
    // Each look is an entry in the log: never again without being asked.
    staleTime: Infinity,
    gcTime: 60_000,
    retry: false,
    refetchOnWindowFocus: false,
    refetchOnReconnect: false,
  });
  return (
    <Paper className="card" p="md" component="section" aria-label="Replay">
      <Stack>
        <Title order={2} size="h4">
          Replay
        </Title>
        {isAsked || seek !== undefined ? (
          <>
            {query.isFetching && lines > 0 && (
              <Text size="sm" c="dimmed" role="status">
                {count(lines)} lines read
              </Text>
            )}
            <Loaded query={query}>
              {(recording) => <Player recording={recording} startedAt={startedAt} seek={seek} />}
            </Loaded>
          </>
        ) : (
          <Group>
            <Button onClick={() => setIsAsked(true)} leftSection={<IconPlayerPlay size={16} aria-hidden />}>
              Open the recording
            </Button>
            <Text size="sm" c="dimmed">
              Opening it puts your look into the log.
            </Text>
          </Group>
        )}
      </Stack>
    </Paper>
  );
}

const speeds = ['1', '4', '16'];
const frameMs = 50;
/** Nobody watches a silence longer than that. */
const longestSilenceMs = 2_000;

interface Playing {
  readonly positionMs: number;
  readonly setPosition: (ms: number) => void;
  readonly isPlaying: boolean;
  readonly setPlaying: (isPlaying: boolean) => void;
}

function usePlaying({ scenes, durationMs }: Recording, speed: number): Playing {
  const [positionMs, setPosition] = useState(0);
  const [isPlaying, setPlaying] = useState(false);
  useEffect(() => {
    if (!isPlaying) return undefined;
    const timer = setInterval(() => {
      setPosition((old) => {
        const next = scenes.find((scene) => scene.startMs > old)?.startMs ?? durationMs;
        const isSilent =
          next - old > longestSilenceMs && !scenes.some((scene) => scene.startMs <= old && scene.endMs > old);
        return Math.min(durationMs, isSilent ? next - longestSilenceMs : old + frameMs * speed);
      });
    }, frameMs);
    return () => clearInterval(timer);
  }, [isPlaying, scenes, durationMs, speed]);
  useEffect(() => {
    if (positionMs >= durationMs) setPlaying(false);
  }, [positionMs, durationMs]);
  return { positionMs, setPosition, isPlaying, setPlaying };
}

function Player({
  recording,
  startedAt,
  seek,
}: { readonly recording: Recording } & Pick<ReplayProps, 'startedAt' | 'seek'>) {
  const { scenes, durationMs, isWhole, leftOut } = recording;
  const [speed, setSpeed] = useState('4');
  const { positionMs, setPosition, isPlaying, setPlaying } = usePlaying(recording, Number(speed));
  useEffect(() => {
    if (seek === undefined) return;
    const nearest = [...scenes].sort((a, b) => Math.abs(a.startMs - seek.ms) - Math.abs(b.startMs - seek.ms))[0];
    setPlaying(false);
    setPosition(nearest?.startMs ?? 0);
  }, [seek, scenes, setPlaying, setPosition]);
  // Before the first statement, the first is what one waits for.
  const at = useMemo(
    () =>
      Math.max(
        0,
        scenes.findLastIndex((scene) => scene.startMs <= positionMs),
      ),
    [scenes, positionMs],
  );
  const scene = scenes[at];
  const go = (to: number) => {
    const wanted = scenes[to];
    if (wanted === undefined) return;
    setPlaying(false);
    setPosition(wanted.startMs);
  };
  if (scenes.length === 0) return <Text>Nothing was asked in this session.</Text>;
  return (
    <Stack gap="sm">
      <Group gap="xs" wrap="nowrap">
        <Tooltip label="The statement before">
          <ActionIcon
            variant="default"
            size="lg"
            aria-label="The statement before"
            disabled={at <= 0}
            onClick={() => go(at - 1)}
          >
            <IconPlayerSkipBack size={18} aria-hidden />
          </ActionIcon>
        </Tooltip>
        <ActionIcon
          size="lg"
          aria-label={isPlaying ? 'Pause' : 'Play'}
          onClick={() => {
            if (!isPlaying && positionMs >= durationMs) setPosition(0);
            setPlaying(!isPlaying);
          }}
        >
          {isPlaying ? <IconPlayerPause size={18} aria-hidden /> : <IconPlayerPlay size={18} aria-hidden />}
        </ActionIcon>
        <Tooltip label="The next statement">
          <ActionIcon
            variant="default"
            size="lg"
            aria-label="The next statement"
            disabled={at >= scenes.length - 1}
            onClick={() => go(at + 1)}
          >
            <IconPlayerSkipForward size={18} aria-hidden />
          </ActionIcon>
        </Tooltip>
        <SegmentedControl
          size="xs"
          aria-label="Speed"
          data={speeds.map((value) => ({ value, label: `${value}×` }))}
          value={speed}
          onChange={setSpeed}
        />
        <Text size="sm" c="dimmed" className="num">
          {clock(positionMs)} of {clock(durationMs)}
        </Text>
      </Group>
      <div>
        <Track scenes={scenes} durationMs={durationMs} />
        <Slider
          min={0}
          max={Math.max(1, durationMs)}
          step={Math.max(1, Math.round(durationMs / 500))}
          value={positionMs}
          onChange={(value) => {
            setPlaying(false);
            setPosition(value);
          }}
          label={(value) => clock(value)}
          thumbLabel="Moment of the session"
          thumbProps={{ 'aria-valuetext': `${clock(positionMs)}, statement ${at + 1} of ${scenes.length}` }}
        />
      </div>
      {!isWhole && (
        <Text size="sm">
          The recording has no end: the session is open, or its process died. What is here was delivered.
        </Text>
      )}
      {leftOut > 0 && (
        <Text size="sm">{count(leftOut)} more statements are not shown here; countersign replay prints all.</Text>
      )}
      {scene !== undefined && <SceneView scene={scene} number={at + 1} of={scenes.length} startedAt={startedAt} />}
    </Stack>
  );
}

/** Where the statements lie in time. */
function Track({ scenes, durationMs }: { readonly scenes: readonly Scene[]; readonly durationMs: number }) {
  const scale = 1_000 / Math.max(1, durationMs);
  return (
    <svg viewBox="0 0 1000 14" preserveAspectRatio="none" className="replay-track" aria-hidden focusable="false">
      {scenes.map((scene) => (
        <rect
          key={scene.no}
          x={Math.min(997, scene.startMs * scale)}
          width={Math.max(3, (scene.endMs - scene.startMs) * scale)}
          y="2"
          height="10"
          className={scene.error === undefined && scene.request.kind !== 'denied' ? 'replay-good' : 'replay-bad'}
        />
      ))}
    </svg>
  );
}

function clock(ms: number): string {
  const two = (value: number) => String(value).padStart(2, '0');
  const seconds = Math.floor(ms / 1_000);
  return `${Math.floor(seconds / 60)}:${two(seconds % 60)}.${Math.floor((ms % 1_000) / 100)}`;
}
