import type { FastifyPluginAsync } from 'fastify';
import { reportAbout } from '../review/doctor.ts';
import { caller, dutiesAnywhere, needDuty } from './caller.ts';
import type { ApiServices } from './services.ts';

/**
 * `doctor` on the running gateway. It samples every target, so it is for administrators, and one at a time. Who is one on
 * some connections only is told what is about these alone.
 */
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
      const report = await running;
      const names = services.connectionNames();
      const own = names.filter((name) => services.dutiesOn(principal, name).includes('admin'));
      return own.length === names.length ? report : reportAbout(report, own);
    });
  };
