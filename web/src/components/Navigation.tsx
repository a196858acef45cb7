import { NavLink, Stack, Text } from '@mantine/core';
import { Link, useLocation } from 'react-router';
import { places, type Place } from '../lib/places.ts';

const sections = ['Work', 'Evidence', 'Rules'] as const;

export function Navigation() {
  const { pathname } = useLocation();
  return (
    <Stack gap="md" component="nav" aria-label="Pages">
      {sections.map((section) => (
        <Stack key={section} gap={2}>
          <Text size="xs" fw={600} c="dimmed" px="xs" mb={2}>
            {section}
          </Text>
          {places
            .filter((place) => place.section === section)
            .map((place) => (
              <PlaceLink key={place.path} place={place} isHere={isAt(pathname, place)} />
            ))}
        </Stack>
      ))}
    </Stack>
  );
}

/** A request belongs to the inbox; everything else stands below its place. */
function isAt(pathname: string, { path }: Place): boolean {
  if (path === '/') return pathname === '/' || pathname.startsWith('/requests/');
  return pathname === path || pathname.startsWith(`${path}/`);
}

function PlaceLink({ place: { path, title, key, icon: Icon }, isHere }: { place: Place; isHere: boolean }) {
  return (
    <NavLink
      component={Link}
      to={path}
      label={title}
      active={isHere}
      aria-current={isHere ? 'page' : undefined}
      aria-keyshortcuts={`g ${key}`}
      leftSection={<Icon size={18} stroke={1.7} aria-hidden />}
      className="place"
    />
  );
}
