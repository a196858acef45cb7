import type { FastifyPluginAsync } from 'fastify';
import { caller, dutiesAnywhere, needDuty } from './caller.ts';
import type { ApiServices } from './services.ts';

/** Receivers of notifications and how they do; a test message. For administrators. */
export const notificationRoutes =
  (services: ApiServices): FastifyPluginAsync =>
  async (api) => {
    await Promise.resolve();
    const admin = async (request: Parameters<typeof caller>[0]) => {
      const principal = await caller(request, services);
      needDuty(principal, dutiesAnywhere(principal, services), ['admin'], 'look after notifications');
      return principal;
    };

    api.get('/notifications', async (request) => {
      await admin(request);
      return { receivers: await services.notifier.status() };
    });

    api.post<{ Params: { name: string } }>('/notifications/:name/test', async (request) => {
      const principal = await admin(request);
      await services.notifier.test(request.params.name, principal.email);
      return { sent: true };
    });
  };
