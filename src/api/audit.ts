import type { FastifyPluginAsync } from 'fastify';
import { caller, dutiesAnywhere, needDuty } from './caller.ts';
import type { ApiServices } from './services.ts';

/** Executions and the approvals that they passed, with the places in the log that prove it. For auditors. */
export const auditRoutes =
  (services: ApiServices): FastifyPluginAsync =>
  async (api) => {
    await Promise.resolve();
    api.get<{ Querystring: { from?: string; to?: string; limit?: number; before?: string } }>(
      '/audit/executions',
      {
        schema: {
          querystring: {
            type: 'object',
            properties: {
              from: { type: 'string', format: 'date-time' },
              to: { type: 'string', format: 'date-time' },
              limit: { type: 'integer', minimum: 1, maximum: 1_000 },
              before: { type: 'string', maxLength: 200 },
            },
          },
        },
      },
      async (request) => {
        const principal = await caller(request, services);
        needDuty(principal, dutiesAnywhere(principal, services), ['auditor'], 'look at executions');
        const { from, to, limit, before } = request.query;
        const names = services.connectionNames();
        const audited = names.filter((name) => services.dutiesOn(principal, name).includes('auditor'));
        return services.executions.report({
          from: from === undefined ? undefined : new Date(from),
          to: to === undefined ? undefined : new Date(to),
          // Who audits everything also sees what belongs to no connection any more.
          connections: audited.length === names.length ? undefined : audited,
          limit,
          before,
        });
      },
    );
  };
