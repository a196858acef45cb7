import type { FastifyPluginAsync } from 'fastify';
import { caller, dutiesAnywhere, needDuty } from './caller.ts';
import type { ApiServices } from './services.ts';

/** `doctor` on the running gateway. It samples every target, so it is for administrators, and one at a time. */
export const doctorRoutes =
  (services: ApiServices): FastifyPluginAsync =>
  async (api) => {
    await Promise.resolve();
    let running: ReturnType<ApiServices['doctor']> | undefined;
    api.post('/doctor', async (request) => {
      const principal = await caller(request, services);
      needDuty(principal, dutiesAnywhere(principal, services), ['admin'], 'run doctor');
      running ??= services.doctor().finally(() => {
        running = undefined;
      });
      return running;
    });
  };
