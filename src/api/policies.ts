import type { FastifyPluginAsync } from 'fastify';
import { CountersignError } from '../errors.ts';
import type { RuleFile } from '../config/rules.ts';
import type { PolicyVersion } from '../store/policies.ts';
import { caller, freshCaller, dutiesAnywhere, needDuty } from './caller.ts';
import type { ApiServices } from './services.ts';

const apply = {
  body: {
    type: 'object',
    additionalProperties: false,
    required: ['files'],
    properties: {
      files: {
        type: 'array',
        minItems: 1,
        maxItems: 200,
        items: {
          type: 'object',
          additionalProperties: false,
          required: ['name', 'text'],
          properties: { name: { type: 'string', minLength: 1, maxLength: 200 }, text: { type: 'string' } },
        },
      },
      message: { type: 'string', maxLength: 4_000 },
      dryRun: { type: 'boolean' },
      /** Digest of the rules that the difference was shown against. */
      base: { type: 'string', pattern: '^[0-9a-f]{64}$' },
    },
  },
} as const;

const page = {
  querystring: {
    type: 'object',
    properties: {
      limit: { type: 'integer', minimum: 1, maximum: 1_000 },
      before: { type: 'integer', minimum: 1 },
    },
  },
} as const;

const pair = {
  querystring: {
    type: 'object',
    required: ['from', 'to'],
    properties: { from: { type: 'integer', minimum: 1 }, to: { type: 'integer', minimum: 1 } },
  },
} as const;

interface ApplyBody {
  readonly files: readonly RuleFile[];
  readonly message?: string;
  readonly dryRun?: boolean;
  readonly base?: string;
}

/** The rules in force, their versions, and changes of them. */
export const policyRoutes =
  (services: ApiServices): FastifyPluginAsync =>
  async (api) => {
    await Promise.resolve();
    const reader = async (request: Parameters<typeof caller>[0], identify = caller) => {
      const principal = await identify(request, services);
      const duties = dutiesAnywhere(principal, services);
      needDuty(principal, duties, ['designer', 'approver', 'executor', 'auditor', 'admin'], 'see the rules');
      return principal;
    };

    api.get('/policies', async (request) => {
      await reader(request);
      const { number, digest, rules } = services.rules.inForce;
      const version = number === 0 ? undefined : summary(await services.rules.version(number));
      const difference = services.rules.fileDifference;
      return {
        source: number === 0 ? 'configuration file' : 'store',
        digest,
        ...(version === undefined ? {} : { version }),
        rules,
        configurationFile: { differs: difference.length > 0, changes: difference },
      };
    });

    api.get<{ Querystring: { limit?: number; before?: number } }>(
      '/policies/versions',
      { schema: page },
      async (request) => {
        await reader(request);
        const { limit = 100, before } = request.query;
        const versions = await services.rules.history({ limit, before });
        return { versions: versions.map(summary) };
      },
    );

    api.get<{ Params: { number: string } }>('/policies/versions/:number', async (request) => {
      await reader(request);
      const { number } = request.params;
      if (!/^[1-9]\d{0,8}$/.test(number)) throw new CountersignError('input_invalid', 'a version is a number from 1');
      const version = await services.rules.version(Number(number));
      return { ...summary(version), rules: JSON.parse(version.contentJson) as unknown };
    });

    api.get<{ Querystring: { from: number; to: number } }>('/policies/diff', { schema: pair }, async (request) => {
      await reader(request);
      const { from, to } = request.query;
      return { from, to, changes: await services.rules.difference(from, to) };
    });

    api.post<{ Body: ApplyBody }>('/policies', { schema: apply }, async (request, reply) => {
      const principal = await reader(request, freshCaller);
      const { files, message = '', dryRun = false, base } = request.body;
      const answer = await services.rules.change({ principal, files, message, dryRun, base });
      return reply.status(answer.outcome === 'requested' ? 202 : 200).send(answer);
    });
  };

function summary({ contentJson: _json, ...rest }: PolicyVersion) {
  return rest;
}
