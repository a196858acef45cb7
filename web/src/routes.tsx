/** Every page with its address; each is loaded when it is first asked for. `src/api/page.ts` serves the same addresses. */
import type { ComponentType } from 'react';
import { createBrowserRouter, Navigate, type RouteObject } from 'react-router';
import { Crash } from './components/Crash.tsx';
import { Shell } from './components/Shell.tsx';

function page(path: string, load: () => Promise<ComponentType>): RouteObject {
  return { path, lazy: async () => ({ Component: await load() }) };
}

export const router = createBrowserRouter([
  {
    element: <Shell />,
    errorElement: <Crash />,
    hydrateFallbackElement: <></>,
    children: [
      page('/', async () => (await import('./pages/Inbox.tsx')).InboxPage),
      page('/requests/:id', async () => (await import('./pages/Request.tsx')).RequestPage),
      page('/jobs', async () => (await import('./pages/Jobs.tsx')).JobsPage),
      page('/jobs/:job', async () => (await import('./pages/Job.tsx')).JobPage),
      page('/runs', async () => (await import('./pages/Runs.tsx')).RunsPage),
      page('/runs/:id', async () => (await import('./pages/Run.tsx')).RunPage),
      page('/sessions', async () => (await import('./pages/Sessions.tsx')).SessionsPage),
      page('/sessions/:id', async () => (await import('./pages/Session.tsx')).SessionPage),
      page('/audit', async () => (await import('./pages/Audit.tsx')).AuditPage),
      page('/access', async () => (await import('./pages/Access.tsx')).AccessPage),
      page('/connections', async () => (await import('./pages/Connections.tsx')).ConnectionsPage),
      page('/connections/:name', async () => (await import('./pages/Connection.tsx')).ConnectionPage),
      page('/masking', async () => (await import('./pages/Masking.tsx')).MaskingPage),
      page('/policies', async () => (await import('./pages/Policies.tsx')).PoliciesPage),
      // Where a failed log-in ends; whoever is logged in goes on to the inbox.
      { path: '/login', element: <Navigate to="/" replace /> },
      page('*', async () => (await import('./pages/NotFound.tsx')).NotFoundPage),
    ],
  },
]);
