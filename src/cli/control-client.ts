import { request } from 'node:http';
import type { z } from 'zod';
import type { Home } from '../config.js';
import { DarkbloomError, systemErrorCode } from '../errors.js';
import { NodePrivacy } from '../service/node-privacy.js';
import { StatusOutput, type Status } from '../service/status.js';
import { UsageFile, type UsageRow } from '../service/usage-rows.js';
import { tryJson } from '../util/json.js';

const TIMEOUT_MS = 5_000;
const NOT_FOUND = 404;

/** What the daemon says of itself.
 *  @throws DarkbloomError `machine_offline` when no daemon runs in this home. */
export async function askStatus(home: Home): Promise<StatusOutput> {
  const { text } = await send(home.controlSocket, 'GET', '/status');
  return StatusOutput.parse(JSON.parse(text));
}

/** Asks the running daemon to do something.
 *  @throws DarkbloomError `machine_offline` when no daemon runs in this home, `config_invalid` when it is blocked. */
export async function askDaemon(home: Home, path: '/pause' | '/resume' | '/stop'): Promise<Status> {
  const { text } = await send(home.controlSocket, 'POST', path);
  const status = StatusOutput.parse(JSON.parse(text));
  if (status.state !== 'blocked') return status;
  throw new DarkbloomError('config_invalid', `The daemon cannot serve: ${status.reason.message}`);
}

/** The counts of the daemon, also those that are not in its file yet; `undefined` when none serves in this home. */
export async function askUsage(home: Home): Promise<UsageRow[] | undefined> {
  return (await askIfServing(home, '/usage', UsageFile))?.rows;
}

/** What the daemon does; `undefined` when none serves in this home. */
export async function askPrivacy(home: Home): Promise<NodePrivacy | undefined> {
  return askIfServing(home, '/privacy', NodePrivacy);
}

/** @throws DarkbloomError `not_supported` when a daemon of another version answers. */
async function askIfServing<T>(home: Home, path: string, schema: z.ZodType<T>): Promise<T | undefined> {
  let answer: Awaited<ReturnType<typeof send>>;
  try {
    answer = await send(home.controlSocket, 'GET', path);
  } catch (error) {
    if (error instanceof DarkbloomError && error.code === 'machine_offline') return undefined;
    throw error;
  }
  if (answer.status === NOT_FOUND) return undefined; // a blocked daemon
  const parsed = schema.safeParse(tryJson(answer.text));
  if (parsed.success) return parsed.data;
  throw new DarkbloomError('not_supported', 'The running daemon is of another version. Stop it and start it again.');
}

function send(socketPath: string, method: string, path: string): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const asked = request({ socketPath, method, path, timeout: TIMEOUT_MS }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('end', () =>
        resolve({ status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString('utf8') }),
      );
      response.on('error', reject);
    });
    asked.on('timeout', () => asked.destroy(new DarkbloomError('timeout', silent(socketPath))));
    asked.on('error', (error) => reject(explained(error)));
    asked.end();
  });
}

function silent(socketPath: string): string {
  return `The daemon behind ${socketPath} did not answer within ${TIMEOUT_MS / 1_000} s. Stop it and start it again.`;
}

function explained(error: Error): Error {
  const code = systemErrorCode(error);
  if (code !== 'ENOENT' && code !== 'ECONNREFUSED') return error;
  return new DarkbloomError(
    'machine_offline',
    'No daemon runs in this home. Start it with `darkbloom-provider start`.',
    {
      cause: error,
    },
  );
}
