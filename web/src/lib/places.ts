/** Where one can go: the navigation, the keys `g x`, and the palette read this list. */
import {
  IconDatabase,
  IconEyeOff,
  IconFileCode,
  IconGavel,
  IconInbox,
  IconPlayerPlay,
  IconShieldCheck,
  IconTerminal2,
  IconUsersGroup,
} from '@tabler/icons-react';

export interface Place {
  readonly path: string;
  readonly title: string;
  /** Pressed after `g`. */
  readonly key: string;
  readonly icon: typeof IconInbox;
  readonly section: 'Work' | 'Evidence' | 'Rules';
}

export const places: readonly Place[] = [
  { path: '/', title: 'Inbox', key: 'i', icon: IconInbox, section: 'Work' },
  { path: '/jobs', title: 'Jobs', key: 'j', icon: IconFileCode, section: 'Work' },
  { path: '/runs', title: 'Runs', key: 'r', icon: IconPlayerPlay, section: 'Work' },
  { path: '/sessions', title: 'Sessions', key: 's', icon: IconTerminal2, section: 'Evidence' },
  { path: '/audit', title: 'Audit', key: 'a', icon: IconShieldCheck, section: 'Evidence' },
  { path: '/access', title: 'Access', key: 'u', icon: IconUsersGroup, section: 'Evidence' },
  { path: '/connections', title: 'Connections', key: 'c', icon: IconDatabase, section: 'Rules' },
  { path: '/masking', title: 'Masking', key: 'm', icon: IconEyeOff, section: 'Rules' },
  { path: '/policies', title: 'Policies', key: 'p', icon: IconGavel, section: 'Rules' },
];
