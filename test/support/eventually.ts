import { setTimeout as sleep } from 'node:timers/promises';

const BOUND_MS = 30_000;
const LOOK_EVERY_MS = 50;

/** Looks again and again until there is something, for what gives no event of its own.
 *  @throws Error when there was nothing for too long. */
export async function eventually<T>(what: string, look: () => T | undefined | Promise<T | undefined>): Promise<T> {
  const deadline = performance.now() + BOUND_MS;
  for (;;) {
    const found = await look();
    if (found !== undefined) return found;
    if (performance.now() > deadline) throw new Error(`Not within ${BOUND_MS} ms: ${what}.`);
    await sleep(LOOK_EVERY_MS);
  }
}
