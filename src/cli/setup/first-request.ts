import { setTimeout as sleep } from 'node:timers/promises';
import type { Home } from '../../config.js';
import { DarkbloomError } from '../../errors.js';
import { readDiscovery, type DiscoveryRecord } from '../../service/discovery.js';
import { askStatusIfRunning } from '../control-client.js';
import { streamChat } from '../stream-chat.js';
import { print, printDone, printFact, style } from '../style.js';

/** The first request of a machine: the way that every later one goes. */

/** A large model is read from the disk for it. */
const ANSWER_TIMEOUT_MS = 5 * 60_000;
const SERVING_TIMEOUT_MS = 60_000;
const ASK_EVERY_MS = 250;
const PROMPT = 'Say hello.';
const MAX_TOKENS = 16;

/** Sends it, and says how it went and where programs find this machine.
 *  @throws DarkbloomError `over_capacity`, `provider_error` when no answer came. */
export async function sendFirstRequest(
  { base_url: baseUrl, api_key: apiKey }: FoundDaemon,
  model: string,
  stopped?: AbortSignal,
): Promise<void> {
  print(style.dim(`Asking ${model} for a first answer; it is loaded for that …`));
  const signal = AbortSignal.any([AbortSignal.timeout(ANSWER_TIMEOUT_MS), ...(stopped === undefined ? [] : [stopped])]);
  const { encrypted, ttftMs } = await streamChat({
    baseUrl,
    apiKey,
    model,
    prompt: PROMPT,
    signal,
    maxTokens: MAX_TOKENS,
    temperature: 0,
  });
  const way = encrypted ? 'by way of coordinator, sealed link and engine' : 'by way of the engine';
  printDone(`first answer after ${(ttftMs / 1_000).toFixed(1)} s, ${way}`);
  print();
  print(style.bold('Point any OpenAI or Anthropic SDK here:'));
  printFact('base URL', baseUrl);
  printFact('key', apiKey);
  printFact('model', model);
}

type FoundDaemon = Pick<DiscoveryRecord, 'base_url' | 'api_key'>;

/** Waits until the background service serves.
 *  @throws DarkbloomError `config_invalid` when it is blocked, `timeout` when it does not come. */
export async function untilServing(home: Home): Promise<FoundDaemon> {
  const end = Date.now() + SERVING_TIMEOUT_MS;
  for (;;) {
    const status = await askStatusIfRunning(home);
    if (status?.state === 'blocked') throw new DarkbloomError('config_invalid', status.reason.message);
    const record = readDiscovery(home.discovery);
    if (status?.state === 'serving' && record !== undefined) return record;
    if (Date.now() >= end) {
      throw new DarkbloomError(
        'timeout',
        `The background service did not serve within ${SERVING_TIMEOUT_MS / 1_000} s. \`darkbloom-provider why\` says what holds it up.`,
      );
    }
    await sleep(ASK_EVERY_MS);
  }
}
