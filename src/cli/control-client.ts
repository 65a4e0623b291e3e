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
 *  @throws DarkbloomError `machine_offline` when no daemon runs in this home, `timeout` when it does not answer,
 *    `not_supported` when one of another version answers. So do all of these. */
export async function askStatus(home: Home): Promise<StatusOutput> {
  return understood(await send(home.controlSocket, 'GET', '/status'), StatusOutput);
}

/** The same; `undefined` when no daemon runs in this home. */
export function askStatusIfRunning(home: Home): Promise<StatusOutput | undefined> {
  return ifRunning(() => askStatus(home));
}

/** Asks the running daemon to pause or to serve again.
 *  @throws DarkbloomError `config_invalid` when it is blocked. */
export async function askDaemon(home: Home, path: '/pause' | '/resume'): Promise<Status> {
  const status = understood(await send(home.controlSocket, 'POST', path), StatusOutput);
  if (status.state !== 'blocked') return status;
  throw new DarkbloomError('config_invalid', `The daemon cannot serve: ${status.reason.message}`);
}

/** Asks it to drain and stop; a blocked one too. It answers before it does. */
export async function askToStop(home: Home): Promise<StatusOutput> {
  return understood(await send(home.controlSocket, 'POST', '/stop'), StatusOutput);
}

/** The counts of the daemon, also those that are not in its file yet; `undefined` when none serves in this home. */
export async function askUsage(home: Home): Promise<UsageRow[] | undefined> {
  return (await askIfServing(home, '/usage', UsageFile))?.rows;
}

/** What the daemon does; `undefined` when none serves in this home. */
export async function askPrivacy(home: Home): Promise<NodePrivacy | undefined> {
  return askIfServing(home, '/privacy', NodePrivacy);
}

async function askIfServing<T>(home: Home, path: string, schema: z.ZodType<T>): Promise<T | undefined> {
  const answer = await ifRunning(() => send(home.controlSocket, 'GET', path));
  return answer === undefined || answer.status === NOT_FOUND ? undefined : understood(answer, schema); // 404: blocked
}

async function ifRunning<T>(ask: () => Promise<T>): Promise<T | undefined> {
  try {
    return await ask();
  } catch (error) {
    if (error instanceof DarkbloomError && error.code === 'machine_offline') return undefined;
    throw error;
  }
}

interface Answer {
  status: number;
  text: string;
}

function understood<T>({ text }: Answer, schema: z.ZodType<T>): T {
  const parsed = schema.safeParse(tryJson(text));
  if (parsed.success) return parsed.data;
  throw new DarkbloomError('not_supported', 'The running daemon is of another version. Stop it and start it again.');
}

function send(socketPath: string, method: string, path: string): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const asked = request({ socketPath, method, path, timeout: TIMEOUT_MS }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('end', () =>
        resolve({ status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString('utf8') }),
      );
      response.on('error', (error) => reject(explained(error)));
    });
    asked.on('timeout', () => asked.destroy(new DarkbloomError('timeout', silent(socketPath))));
    asked.on('error', (error) => reject(explained(error)));
    asked.end();
  });
}

function silent(socketPath: string): string {
  return `The daemon behind ${socketPath} did not answer within ${TIMEOUT_MS / 1_000} s. Stop it and start it again.`;
}

/** Nobody listens, or whoever did ended while it was asked. */
const OFFLINE: readonly (string | undefined)[] = ['ENOENT', 'ECONNREFUSED', 'ECONNRESET', 'EPIPE'];

function explained(cause: Error): Error {
  const code = systemErrorCode(cause);
  if (OFFLINE.includes(code)) {
    const message = 'No daemon runs in this home. Start it with `darkbloom-provider start`.';
    return new DarkbloomError('machine_offline', message, { cause });
  }
  if (code === 'EACCES' || code === 'EPERM') {
    const message = 'The daemon of this home belongs to another user. Run the command as that user.';
    return new DarkbloomError('not_supported', message, { cause });
  }
  return cause;
}
