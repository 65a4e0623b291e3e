import { createServer, type AddressInfo } from 'node:net';
import { environment } from '../src/config.js';
import { Child } from './child.js';
import type { ModelOrder } from './target.js';

const START_TIMEOUT_MS = 120_000;
/** Prompts that the server keeps outside its slots: its own bound of 8 GiB is more than a shared machine has to spare. */
const PROMPT_CACHE_MIB = 512;

/** llama.cpp's server with the same file, threads, rows and context. `unified`: one cache for all slots, `-kvu`. */
export async function startLlamaServer(
  program: string,
  { path, rows, contextTokens, threads }: ModelOrder,
  unified: boolean,
): Promise<{ baseUrl: string; pid: number; stop: () => Promise<void> }> {
  const port = await freePort();
  const args = [
    ...['-m', path, '-t', String(threads), '-tb', String(threads), '-np', String(rows)],
    ...['-c', String(rows * contextTokens), '-b', '2048', '-ub', '512', '--cache-ram', String(PROMPT_CACHE_MIB)],
    ...['--host', '127.0.0.1', '--port', String(port), '--no-ui', unified ? '-kvu' : '-no-kvu'],
  ];
  const child = new Child(program, args, { ...environment });
  const health = async () => {
    const answer = await fetch(`http://127.0.0.1:${port}/health`).catch(() => undefined);
    return answer?.ok === true ? true : undefined;
  };
  try {
    await child.until('llama-server is ready', START_TIMEOUT_MS, health);
  } catch (error) {
    await child.stop();
    throw error;
  }
  return { baseUrl: `http://127.0.0.1:${port}/v1`, pid: child.pid, stop: () => child.stop() };
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => resolve(port));
    });
  });
}
