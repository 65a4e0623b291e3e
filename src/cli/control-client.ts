import { request } from 'node:http';
import type { Home } from '../config.js';
import { DarkbloomError, systemErrorCode } from '../errors.js';
import { StatusOutput, type Status } from '../service/status.js';

const TIMEOUT_MS = 5_000;

/** What the daemon says of itself.
 *  @throws DarkbloomError `machine_offline` when no daemon runs in this home. */
export async function askStatus(home: Home): Promise<StatusOutput> {
  return StatusOutput.parse(JSON.parse(await send(home.controlSocket, 'GET', '/status')));
}

/** Asks the running daemon to do something.
 *  @throws DarkbloomError `machine_offline` when no daemon runs in this home, `config_invalid` when it is blocked. */
export async function askDaemon(home: Home, path: '/pause' | '/resume' | '/stop'): Promise<Status> {
  const status = StatusOutput.parse(JSON.parse(await send(home.controlSocket, 'POST', path)));
  if (status.state !== 'blocked') return status;
  throw new DarkbloomError('config_invalid', `The daemon cannot serve: ${status.reason.message}`);
}

function send(socketPath: string, method: string, path: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const asked = request({ socketPath, method, path, timeout: TIMEOUT_MS }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('end', () => resolve(Buffer.concat(chunks).toString('utf8')));
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
