import { rmSync } from 'node:fs';
import { z } from 'zod';
import { DarkbloomError } from '../errors.js';
import { readFileIfPresent, writePrivateFile } from '../util/files.js';
import { isAlive } from '../util/processes.js';
import { tryJson } from '../util/json.js';

/** Where local programs find the running daemon: base URL and key, in a 0600 file of the home. */
export const DiscoveryRecord = z.object({
  base_url: z.url().describe('Base URL for the OpenAI and Anthropic SDKs'),
  api_key: z.string().describe('The key for it: a secret'),
  host: z.string().describe('Address it is bound to'),
  port: z.int().describe('Port it is bound to'),
  pid: z.int().positive().describe('Process of the daemon'),
  version: z.string().describe('Version of the daemon'),
  mode: z
    .enum(['local', 'linked', 'coordinator'])
    .describe('`local`: coordinator and provider; `linked`: the direct endpoint; `coordinator`: a coordinator alone'),
  updated_at: z.string().describe('When the daemon wrote this, RFC 3339'),
});
export type DiscoveryRecord = z.infer<typeof DiscoveryRecord>;

/** Written only after the port is bound. */
export function writeDiscovery(path: string, record: DiscoveryRecord): void {
  writePrivateFile(path, `${JSON.stringify(record, null, 2)}\n`);
}

export function removeDiscovery(path: string): void {
  rmSync(path, { force: true });
}

/** The record of a daemon that runs now; one whose process is gone counts as none. */
export function readDiscovery(path: string): DiscoveryRecord | undefined {
  const text = readFileIfPresent(path);
  if (text === undefined) return undefined;
  const record = DiscoveryRecord.safeParse(tryJson(text)).data;
  return record !== undefined && isAlive(record.pid) ? record : undefined;
}

/** One home, one daemon: two would answer for each other's files.
 *  @throws DarkbloomError `already_running`. */
export async function refuseSecondDaemon(path: string): Promise<void> {
  const running = await answeringDaemon(path);
  if (running === undefined || running.pid === process.pid) return;
  throw new DarkbloomError(
    'already_running',
    `A daemon of this home already runs (process ${running.pid}, ${running.base_url}). ` +
      'Stop it first, or set DARKBLOOM_PROVIDER_HOME to another folder.',
  );
}

const ANSWER_TIMEOUT_MS = 2_000;
const Health = z.object({ status: z.literal('ok'), version: z.string() });

/** The record of a daemon that answers. A record alone proves nothing: after a power loss its process id may belong to
 *  any other program, and so may its port. */
export async function answeringDaemon(path: string): Promise<DiscoveryRecord | undefined> {
  const record = readDiscovery(path);
  if (record === undefined) return undefined;
  try {
    const answer = await fetch(new URL('/health', record.base_url), { signal: AbortSignal.timeout(ANSWER_TIMEOUT_MS) });
    const health = Health.safeParse(tryJson(await answer.text()));
    return health.data?.version === record.version ? record : undefined;
  } catch {
    return undefined; // nobody listens, or not in HTTP
  }
}
