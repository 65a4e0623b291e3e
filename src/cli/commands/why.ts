import { Command } from 'commander';
import { z } from 'zod';
import { environment, findHome, type Home } from '../../config.js';
import { DarkbloomError } from '../../errors.js';
import { readLinkToken } from '../../link/link-token.js';
import { readDiscovery } from '../../service/discovery.js';
import type { Status, StatusOutput } from '../../service/status.js';
import { askStatusIfRunning } from '../control-client.js';
import { printJson, SchemaVersion } from '../json-output.js';
import { printHanging } from '../screen.js';
import { serviceHere } from '../service-here.js';
import { style } from '../style.js';
import { Cause, modelToAsk, whyOf, whyOfCanary, type Canary, type Finding } from '../why.js';
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
    .argument('[model]', 'the model to ask for; without it a loaded one, else the smallest')
    .option('--json', 'one JSON object')
    .addHelpText(
      'after',
      `
Looks at the daemon, its connection and what the coordinator said, then sends a real request of one token through the
whole path to a machine of yours: this one, unless you have others. It is free, and loads a model if none is loaded.
Exit code 0 when it was answered, 75 if not.

Examples:
  $ darkbloom-provider why
  $ darkbloom-provider why darkbloom-tiny-chat --json | jq -r .cause`,
    )
    .action(why);
}

async function why(model: string | undefined, { json }: { json?: true }): Promise<void> {
  const home = findHome(environment);
  const finding = await findingOf(home, await statusIfRunning(home), model);
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

/** What can be told without sending a request; `undefined`: only one would tell. */
export async function findingWithoutRequest(home: Home, status: Asked): Promise<Finding | undefined> {
  return whyOf(status, status === undefined ? await serviceHere(home) : undefined);
}

/** Sends a request when nothing else tells. */
export async function findingOf(home: Home, status: Asked, name?: string): Promise<Finding> {
  const finding = await findingWithoutRequest(home, status);
  if (finding !== undefined) return finding;
  if (status === undefined || status === 'unanswered' || status.state === 'blocked') {
    throw new TypeError('There is no daemon to ask.');
  }
  const model = modelToAsk(status, name);
  return 'cause' in model ? model : whyOfCanary(await canary(home, status, model.build), status, model);
}

function printFinding({ sentence, nextStep }: Finding): void {
  printHanging('', sentence);
  if (nextStep !== undefined) printHanging(`${style.bold('Next:')} `, nextStep);
}

/** What the daemon said; `undefined`: none runs in this home; `unanswered`: one that says nothing. */
type Asked = StatusOutput | 'unanswered' | undefined;

export async function statusIfRunning(home: Home): Promise<Asked> {
  try {
    return await askStatusIfRunning(home);
  } catch (error) {
    if (error instanceof DarkbloomError && error.code === 'timeout') return 'unanswered';
    throw error;
  }
}

const ErrorBody = z.object({ error: z.object({ code: z.string().optional(), message: z.string() }) });

/** One token from this machine, asked for at its coordinator like any client would. */
async function canary(home: Home, status: Status, build: string): Promise<Canary> {
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
      body: JSON.stringify({ model: build, messages: [{ role: 'user', content: 'ping' }], max_tokens: 1 }),
      signal: AbortSignal.timeout(CANARY_TIMEOUT_MS),
    });
    const text = await response.text();
    if (response.ok) return { answered: true, ms: Math.round(performance.now() - begun) };
    const said = ErrorBody.safeParse(tryJson(text)).data?.error;
    return {
      answered: false,
      status: response.status,
      code: said?.code ?? '',
      message: said?.message ?? text.slice(0, 200),
    };
  } catch (error) {
    return { answered: false, status: 0, code: 'no_answer', message: reasonOf(error) };
  }
}

/** `fetch` says why in the cause alone. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return 'no reason given';
  return error.cause instanceof Error ? error.cause.message : error.message;
}

/** The owner's key for the coordinator in this home; the link token, which acts as its account, for another. */
function credential(home: Home, { mode, connection }: Status): string | undefined {
  return mode === 'local'
    ? readDiscovery(home.discovery)?.api_key
    : readLinkToken(home.linkToken, connection.coordinator_url);
}
