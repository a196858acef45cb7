import type { FastifyPluginAsync } from 'fastify';
import { CountersignError } from '../errors.ts';
import {
  jobVersions,
  latestJobVersions,
  versionStandings,
  type JobVersion,
  type VersionStanding,
} from '../store/jobs.ts';
import { findSession } from '../store/sessions.ts';
import { caller, needDuty } from './caller.ts';
import type { ApiServices } from './services.ts';

/** Job versions: push, list, read; drafts of jobs. */
export const jobRoutes =
  (services: ApiServices): FastifyPluginAsync =>
  async (api) => {
    await Promise.resolve();
    api.post<{ Body: { content: string; path?: string; message?: string } }>(
      '/jobs',
      {
        schema: {
          body: {
            type: 'object',
            additionalProperties: false,
            required: ['content'],
            properties: {
              content: { type: 'string' },
              path: { type: 'string' },
              message: { type: 'string', maxLength: 10_000 },
            },
          },
        },
      },
      async (request, reply) => {
        const principal = await caller(request, services);
        const { content, path, message } = request.body;
        const pushed = await services.submission.push({
          principal,
          dutiesOn: (connection) => services.dutiesOn(principal, connection),
          content,
          path,
          message: message ?? 'Push a job definition',
        });
        void reply.status(201);
        return {
          version: publicVersion(pushed.version),
          plan: pushed.plan,
          request: pushed.request.id,
          digest: pushed.request.digest,
        };
      },
    );

    /** For the session's own human while they may design on its connection, and for auditors, whose look is in the log. */
    api.post<{ Body: { session: string } }>(
      '/jobs/drafts',
      {
        schema: {
          body: {
            type: 'object',
            additionalProperties: false,
            required: ['session'],
            properties: { session: { type: 'string', minLength: 1, maxLength: 100 } },
          },
        },
      },
      async (request) => {
        const principal = await caller(request, services);
        const { session: id } = request.body;
        const session = await findSession(services.store, id);
        const duties = session === undefined ? [] : services.dutiesOn(principal, session.connection);
        const isOwn = session?.human === principal.human && principal.human !== '' && duties.includes('designer');
        if (session === undefined || !(isOwn || duties.includes('auditor'))) {
          throw new CountersignError(
            'recording_unknown',
            `you have no session ${JSON.stringify(id)} to make a draft of`,
            {
              hint: 'a draft is for whoever ran the session, with the duty designer on its connection, and for auditors',
            },
          );
        }
        if (!isOwn) {
          const at = new Date(services.clock.now()).toISOString();
          const { node, log } = services;
          const entry = { type: 'recording.read', at, node, session: session.id, auditor: principal.id } as const;
          // Reading is in the log before anything is read.
          await log.durable(log.append(services.encode(entry)));
        }
        return services.draftFromSession(session);
      },
    );

    api.get('/jobs', async (request) => {
      const principal = await caller(request, services);
      const versions = await latestJobVersions(services.store);
      const visible = versions.filter((one) => services.dutiesOn(principal, one.connection).length > 0);
      const standings = await versionStandings(
        services.store,
        visible.map((one) => one.job),
      );
      return { jobs: visible.map((one) => withStanding(publicVersion(one), standings)) };
    });

    api.get<{ Params: { job: string } }>('/jobs/:job', async (request) => {
      const principal = await caller(request, services);
      const all = await jobVersions(services.store, request.params.job);
      const [newest] = all;
      if (newest === undefined)
        throw new CountersignError('job_unknown', `there is no job ${JSON.stringify(request.params.job)}`);
      const dutiesOn = (connection: string) => services.dutiesOn(principal, connection);
      needDuty(principal, dutiesOn(newest.connection), ['designer', 'approver', 'executor', 'auditor'], 'see this job');
      // Each version for those of its own connection, whatever the newest one says.
      const versions = all.filter(({ connection }) => dutiesOn(connection).some((duty) => duty !== 'admin'));
      const standings = await versionStandings(services.store, [newest.job]);
      return {
        versions: versions.map((one) => ({ ...withStanding(publicVersion(one), standings), content: one.content })),
      };
    });
  };

function withStanding<T extends Pick<JobVersion, 'job' | 'version'>>(
  version: T,
  standings: readonly VersionStanding[],
) {
  const found = standings.find((one) => one.job === version.job && one.version === version.version);
  if (found === undefined) return { ...version, standing: null };
  const { job: _job, version: _version, ...standing } = found;
  return { ...version, standing };
}

function publicVersion({ content: _content, ...version }: JobVersion) {
  return version;
}
