/** The frame around every page: who is logged in, where one can go, keys, and the log-in where nobody is. */
import { ActionIcon, AppShell, Burger, Center, Container, Group, Loader, Text, Tooltip } from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import { IconSearch } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { lazy, Suspense, useEffect } from 'react';
import { Outlet, useLocation } from 'react-router';
import { ApiError } from '../lib/api.ts';
import { useLive } from '../lib/live.ts';
import { useGoKeys } from '../lib/keys.ts';
import { dutiesOf, useWho, whoami } from '../lib/who.ts';
import { Account } from './Account.tsx';
import { Failure } from './Failure.tsx';
import { Navigation } from './Navigation.tsx';
import { Palette } from './Palette.tsx';
import { Seal } from './Seal.tsx';

const LogInPage = lazy(async () => ({ default: (await import('../pages/LogIn.tsx')).LogInPage }));

export function Shell() {
  const { data: who, error, refetch } = useQuery(whoami);
  if (error instanceof ApiError && error.status === 401) {
    return (
      <Suspense fallback={<Waiting />}>
        <LogInPage />
      </Suspense>
    );
  }
  if (who !== undefined) return <Frame />;
  if (error === null) return <Waiting />;
  return (
    <Container size="xs" py={80} component="main">
      <Failure error={error} retry={() => void refetch()} />
    </Container>
  );
}

function Waiting() {
  return (
    <Center mih="100vh">
      <Loader aria-label="Loading" />
    </Center>
  );
}

function Frame() {
  const [isMenuOpen, menu] = useDisclosure(false);
  const [isPaletteOpen, palette] = useDisclosure(false);
  const { pathname } = useLocation();
  // Whoever has no duty is told of nothing.
  useLive(dutiesOf(useWho()).length > 0);
  useGoKeys(palette.open);
  // A new page begins at its top, and the menu of a phone is done.
  useEffect(() => {
    menu.close();
    window.scrollTo(0, 0);
  }, [pathname]);
  return (
    <AppShell
      header={{ height: 56 }}
      navbar={{ width: 216, breakpoint: 'sm', collapsed: { mobile: !isMenuOpen } }}
      padding={{ base: 'md', md: 'xl' }}
    >
      <a href="#content" className="skip-link">
        Skip to the content
      </a>
      <AppShell.Header className="frame-header">
        <Group h="100%" px="md" gap="sm" wrap="nowrap">
          <Burger opened={isMenuOpen} onClick={menu.toggle} hiddenFrom="sm" size="sm" aria-label="Menu" />
          <Seal />
          <Text fw={650} size="lg" visibleFrom="xs">
            Countersign
          </Text>
          <Group gap="xs" ml="auto" wrap="nowrap">
            <Tooltip label="Go to… (Ctrl K)">
              <ActionIcon variant="default" size="lg" onClick={palette.open} aria-label="Go to a page or request">
                <IconSearch size={18} aria-hidden />
              </ActionIcon>
            </Tooltip>
            <Account />
          </Group>
        </Group>
      </AppShell.Header>
      <AppShell.Navbar className="frame-navbar" p="sm" aria-label="Pages">
        <Navigation />
      </AppShell.Navbar>
      <AppShell.Main id="content" tabIndex={-1} className="frame-main">
        <Container size="lg" px={0}>
          <Suspense fallback={<Waiting />}>
            <Outlet />
          </Suspense>
        </Container>
      </AppShell.Main>
      <Palette isOpen={isPaletteOpen} close={palette.close} />
    </AppShell>
  );
}
