import type { FastifyPluginAsync, FastifyRequest } from 'fastify';
import { reviewText } from '../review/report-text.ts';
import type { LineDecision, Reviewer } from '../review/reviews.ts';
import { caller, freshCaller, dutiesAnywhere, needDuty } from './caller.ts';
import type { ApiServices } from './services.ts';

const paging = {
  type: 'object',
  properties: { limit: { type: 'integer', minimum: 1, maximum: 1_000 }, before: { type: 'string', maxLength: 200 } },
} as const;

/**
 * The access review: who holds what, toxic combinations, and reviews with their decisions. For auditors and
 * administrators, and of each connection only for those who are that there.
 */
export const accessRoutes =
  (services: ApiServices): FastifyPluginAsync =>
  async (api) => {
    await Promise.resolve();
    const { reviews } = services;
    const reviewer = async (request: FastifyRequest, identify = caller): Promise<Reviewer> => {
      const principal = await identify(request, services);
      needDuty(principal, dutiesAnywhere(principal, services), ['auditor', 'admin'], 'review access');
      return { principal, dutiesOn: (connection) => services.dutiesOn(principal, connection) };
    };

    api.get<{ Querystring: { limit?: number; before?: string; connection?: string; unused?: boolean } }>(
      '/access/holdings',
      {
        schema: {
          querystring: {
            ...paging,
            properties: { ...paging.properties, connection: { type: 'string' }, unused: { type: 'boolean' } },
          },
        },
      },
      async (request) => {
        const { limit = 100, before, connection, unused } = request.query;
        const all = (await reviews.holdings(await reviewer(request))).filter(
          (line) => (connection === undefined || line.connection === connection) && (unused !== true || line.unused),
        );
        const from = before === undefined ? 0 : all.findIndex(({ line }) => line === before) + 1;
        const holdings = all.slice(from, from + limit);
        return { total: all.length, holdings, next: from + limit < all.length ? holdings.at(-1)?.line : undefined };
      },
    );

    /** Toxic combinations, unapproved actions, database accounts, executions, earlier revocations: as of now. */
    api.get('/access/facts', async (request) => reviews.facts(await reviewer(request)));

    api.get<{ Querystring: { limit?: number; before?: string } }>(
      '/access/reviews',
      {
        schema: {
          querystring: {
            ...paging,
            properties: { ...paging.properties, before: { type: 'string', format: 'date-time' } },
          },
        },
      },
      async (request) => {
        await reviewer(request);
        const { limit = 100, before } = request.query;
        return { reviews: await reviews.list(limit, before === undefined ? undefined : new Date(before)) };
      },
    );

    api.post('/access/reviews', async (request, reply) => {
      const started = await reviews.start(await reviewer(request, freshCaller));
      return reply.status(201).send(started);
    });

    api.get<{ Params: { id: string } }>('/access/reviews/:id', async (request) =>
      reviews.get(request.params.id, await reviewer(request)),
    );

    api.get<{ Params: { id: string }; Querystring: { limit?: number; before?: string; undecided?: boolean } }>(
      '/access/reviews/:id/lines',
      { schema: { querystring: { ...paging, properties: { ...paging.properties, undecided: { type: 'boolean' } } } } },
      async (request) => {
        const { limit = 100, before, undecided } = request.query;
        const filter = { limit: limit + 1, after: before, undecidedOnly: undecided };
        const lines = await reviews.lines(request.params.id, await reviewer(request), filter);
        return { lines: lines.slice(0, limit), next: lines.length > limit ? lines[limit - 1]?.line : undefined };
      },
    );

    api.post<{ Params: { id: string }; Body: { decisions: LineDecision[] } }>(
      '/access/reviews/:id/decisions',
      {
        schema: {
          body: {
            type: 'object',
            additionalProperties: false,
            required: ['decisions'],
            properties: {
              decisions: {
                type: 'array',
                minItems: 1,
                maxItems: 500,
                items: {
                  type: 'object',
                  additionalProperties: false,
                  required: ['line', 'verdict'],
                  properties: {
                    line: { type: 'string', maxLength: 100 },
                    verdict: { type: 'string', enum: ['keep', 'revoke'] },
                    comment: { type: 'string', maxLength: 4_000, default: '' },
                  },
                },
              },
            },
          },
        },
      },
      async (request) => ({
        counts: await reviews.decide(request.params.id, await reviewer(request, freshCaller), request.body.decisions),
      }),
    );

    api.post<{ Params: { id: string }; Body: { incomplete?: boolean } }>(
      '/access/reviews/:id/end',
      {
        schema: {
          body: { type: 'object', additionalProperties: false, properties: { incomplete: { type: 'boolean' } } },
        },
      },
      async (request) =>
        reviews.end(request.params.id, await reviewer(request, freshCaller), request.body.incomplete === true),
    );

    api.get<{ Params: { id: string }; Querystring: { format?: 'json' | 'text' } }>(
      '/access/reviews/:id/report',
      {
        schema: {
          querystring: { type: 'object', properties: { format: { type: 'string', enum: ['json', 'text'] } } },
        },
      },
      async (request, reply) => {
        const report = await reviews.report(request.params.id, await reviewer(request));
        if (request.query.format !== 'text') return report;
        return reply.type('text/plain; charset=utf-8').send(reviewText(report));
      },
    );
  };
