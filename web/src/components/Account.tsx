/** Who is logged in, with which duties; colours; log-out. */
import { Badge, Group, Menu, Text, UnstyledButton, useMantineColorScheme } from '@mantine/core';
import { IconDeviceDesktop, IconLogout, IconMoon, IconSun } from '@tabler/icons-react';
import { useQueryClient } from '@tanstack/react-query';
import { dutiesOf, nameOf, useWho } from '../lib/who.ts';

const schemes = [
  { value: 'auto', label: 'As the system', icon: IconDeviceDesktop },
  { value: 'light', label: 'Light', icon: IconSun },
  { value: 'dark', label: 'Dark', icon: IconMoon },
] as const;

export function Account() {
  const who = useWho();
  const { colorScheme, setColorScheme } = useMantineColorScheme();
  const logOut = useLogOut();
  const duties = dutiesOf(who);
  return (
    <Menu width={260} position="bottom-end" shadow="md">
      <Menu.Target>
        <UnstyledButton aria-label={`Account of ${nameOf(who)}`} className="account">
          <Group gap="xs" wrap="nowrap">
            <span className="initials" data-initials={initialsOf(nameOf(who))} aria-hidden />
            <Text size="sm" visibleFrom="sm" truncate maw={160}>
              {nameOf(who)}
            </Text>
          </Group>
        </UnstyledButton>
      </Menu.Target>
      <Menu.Dropdown>
        <Menu.Label>
          {who.id}
          {who.human !== who.id && ` · owned by ${who.human}`}
        </Menu.Label>
        <Group gap={4} px="sm" pb="xs">
          {duties.length === 0 ? (
            <Text size="xs">No duty on any connection</Text>
          ) : (
            duties.map((duty) => (
              <Badge key={duty} size="sm" variant="light" tt="none">
                {duty}
              </Badge>
            ))
          )}
        </Group>
        <Menu.Divider />
        {schemes.map(({ value, label, icon: Icon }) => (
          <Menu.Item
            key={value}
            leftSection={<Icon size={16} aria-hidden />}
            onClick={() => setColorScheme(value)}
            rightSection={colorScheme === value ? '✓' : undefined}
          >
            {label}
          </Menu.Item>
        ))}
        <Menu.Divider />
        <Menu.Item leftSection={<IconLogout size={16} aria-hidden />} onClick={() => void logOut()}>
          Log out
        </Menu.Item>
      </Menu.Dropdown>
    </Menu>
  );
}

/** Drawn by the style sheet: they are a picture, not a part of the button's name. */
function initialsOf(name: string): string {
  const words = name.split(/\s+/).filter((word) => word !== '');
  return [words[0], words.length > 1 ? words.at(-1) : undefined]
    .map((word) => Array.from(word ?? '')[0] ?? '')
    .join('')
    .toUpperCase();
}

function useLogOut(): () => Promise<void> {
  const client = useQueryClient();
  return async () => {
    await fetch('/auth/logout', { method: 'POST', headers: { 'x-countersign': '1' }, credentials: 'same-origin' });
    // Nothing that one person saw stays in memory for the next.
    client.clear();
    window.location.assign('/');
  };
}
