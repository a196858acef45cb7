import type { FastifyPluginAsync } from 'fastify';
import { mask as maskSchema } from '../config/rules-schema.ts';
import { CountersignError } from '../errors.ts';
import { trialTypes, type MaskTrial } from '../masking/trial.ts';
import { withAnyDuty } from './connections.ts';
import type { ApiServices } from './services.ts';

const maxValueLength = 4_000;

/** Masking: the templates, and what they make of a value of one's own. Nothing of a target is read here. */
export const maskingRoutes =
  (services: ApiServices): FastifyPluginAsync =>
  async (api) => {
    await Promise.resolve();
    api.get('/masking', async (request) => {
      await withAnyDuty(request, services, 'see masking rules');
      return { templates: services.maskingTemplates(), types: trialTypes };
    });

    /**
     * The value is the caller's own: it is masked, answered, and nowhere recorded. The mask `hash` takes a key made for
     * this answer, so that it tells nothing about hashed columns.
     */
    api.post<{ Body: MaskTrial & { labels?: Record<string, string>; connection?: string } }>(
      '/masking/test',
      {
        schema: {
          body: {
            type: 'object',
            additionalProperties: false,
            required: ['value', 'type'],
            properties: {
              value: { type: 'string', maxLength: maxValueLength },
              type: { type: 'string', enum: trialTypes },
              column: { type: 'string', minLength: 1, maxLength: 200 },
              mask: {},
              connection: { type: 'string', maxLength: 100 },
              labels: { type: 'object', maxProperties: 50, additionalProperties: { type: 'string', maxLength: 200 } },
            },
          },
        },
      },
      async (request) => {
        const principal = await withAnyDuty(request, services, 'try masks');
        const { value, type, column, mask, connection, labels = {} } = request.body;
        if (connection !== undefined && services.dutiesOn(principal, connection).length === 0)
          throw new CountersignError(
            'connection_unknown',
            `you hold no duty on a connection ${JSON.stringify(connection)}`,
          );
        const parsed = maskSchema.optional().safeParse(mask);
        if (!parsed.success)
          throw new CountersignError('input_invalid', 'body/mask is no mask', {
            hint: 'docs/masking.md lists the masks',
          });
        const found = connection === undefined ? labels : (services.connectionLabels(connection) ?? {});
        return services.tryMask(found, { value, type, column, mask: parsed.data });
      },
    );
  };
