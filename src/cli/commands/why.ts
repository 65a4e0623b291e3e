import { Command } from 'commander';
import { z } from 'zod';
import { environment, findHome, type Home } from '../../config.js';
import { DarkbloomError } from '../../errors.js';
import { readLinkToken } from '../../link/link-token.js';
import { readDiscovery } from '../../service/discovery.js';
import type { Status, StatusOutput } from '../../service/status.js';
import { askStatus } from '../control-client.js';
import { printJson, SchemaVersion } from '../json-output.js';
import { printHanging } from '../screen.js';
import { style } from '../style.js';
import { Cause, whyOf, whyOfCanary, type Canary, type Finding } from '../why.js';
import { tryJson } from '../../util/json.js';

/** A model may have to be loaded for it. */
const CANARY_TIMEOUT_MS = 120_000;
/** Something is wrong that may pass or be mended. */
const NOT_SERVED_EXIT = 75;

export const WhyOutput = z.strictObject({
  schema_version: SchemaVersion,
  cause: Cause.describe('`served`: nothing is wrong; else the first thing that is'),
  sentence: z.string().describe('What is so'),
  next_step: z.string().optional().describe('What to do; absent when nothing is wrong'),
});
type WhyOutput = z.infer<typeof WhyOutput>;

export function whyCommand(): Command {
  return new Command('why')
    .description('the first thing that keeps this machine from serving a request, and what to do')
    .option('--json', 'one JSON object')
    .addHelpText(
      'after',
      `
Looks at the daemon, its connection and what the coordinator said, then sends a real request of one token through the
whole path to a machine of yours: this one, unless you have others. It is free, and loads a model if none is loaded. Exit code 0 when it was answered, 75 if not.`,
    )
    .action(why);
}

async function why({ json }: { json?: true }): Promise<void> {
  const home = findHome(environment);
  const status = await statusIfRunning(home);
  const finding = await findingOf(home, status);
  if (json === true) {
    printJson<WhyOutput>(whyOutput(finding));
  } else {
    printFinding(finding);
  }
  if (finding.cause !== 'served') process.exitCode = NOT_SERVED_EXIT;
}

export function whyOutput({ cause, sentence, nextStep }: Finding): WhyOutput {
  return { schema_version: 1, cause, sentence, ...(nextStep === undefined ? {} : { next_step: nextStep }) };
}

/** Sends a request when nothing else tells. */
export async function findingOf(home: Home, status: StatusOutput | undefined): Promise<Finding> {
  return whyOf(status) ?? whyOfCanary(await canary(home, status));
}

function printFinding({ sentence, nextStep }: Finding): void {
  printHanging('', sentence);
  if (nextStep !== undefined) printHanging(`${style.bold('Next:')} `, nextStep);
}

/** `undefined`: no daemon runs in this home. */
export async function statusIfRunning(home: Home): Promise<StatusOutput | undefined> {
  try {
    return await askStatus(home);
  } catch (error) {
    if (error instanceof DarkbloomError && error.code === 'machine_offline') return undefined;
    throw error;
  }
}

const ErrorBody = z.object({ error: z.object({ code: z.string().optional(), message: z.string() }) });

/** One token from this machine, asked for at its coordinator like any client would. */
async function canary(home: Home, status: StatusOutput | undefined): Promise<Canary> {
  if (status === undefined || status.state === 'blocked') throw new TypeError('There is no daemon to ask.');
  const model = modelToAsk(status);
  const { coordinator_url: url } = status.connection;
  const begun = performance.now();
  try {
    const response = await fetch(`${url}/v1/chat/completions`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${credential(home, status) ?? ''}`,
        'content-type': 'application/json',
        'x-darkbloom-route': 'self',
      },
      body: JSON.stringify({ model: model.build, messages: [{ role: 'user', content: 'ping' }], max_tokens: 1 }),
      signal: AbortSignal.timeout(CANARY_TIMEOUT_MS),
    });
    const text = await response.text();
    if (response.ok) return { answered: true, ms: Math.round(performance.now() - begun), model: model.alias };
    const said = ErrorBody.safeParse(tryJson(text)).data?.error;
    return {
      answered: false,
      status: response.status,
      code: said?.code ?? '',
      message: said?.message ?? text.slice(0, 200),
    };
  } catch (error) {
    const message = error instanceof Error ? error.message : 'no answer';
    return { answered: false, status: 0, code: 'no_answer', message };
  }
}

/** A loaded model if there is one, else the smallest. */
function modelToAsk({ models }: Status): Status['models'][number] {
  const ranked = [...models].sort(
    (a, b) => Number(b.state === 'ready') - Number(a.state === 'ready') || a.memory_bytes - b.memory_bytes,
  );
  const [first] = ranked;
  if (first === undefined)
    throw new DarkbloomError('model_not_found', 'This machine has no model at all. See: darkbloom-provider models');
  return first;
}

/** The owner's key for the coordinator in this home; the link token, which acts as its account, for another. */
function credential(home: Home, { mode, connection }: Status): string | undefined {
  return mode === 'local'
    ? readDiscovery(home.discovery)?.api_key
    : readLinkToken(home.linkToken, connection.coordinator_url);
}
