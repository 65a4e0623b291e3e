import { Command } from 'commander';
import { z } from 'zod';
import { environment, findHome, loadSettings } from '../../config.js';
import { DarkbloomError } from '../../errors.js';
import { DiscoveryRecord, answeringDaemon } from '../../service/discovery.js';
import { SchemaVersion } from '../json-output.js';
import { openConsole } from '../open-console.js';
import { snippets } from '../../util/snippets.js';
import { print, printFact } from '../style.js';

/** `{}` where nothing runs: programs that look for a local server read just that. */
export const LocalOutput = z.union([
  DiscoveryRecord.extend({ schema_version: SchemaVersion }).describe('A daemon runs in this home'),
  z.strictObject({}).describe('None runs; exit code 1'),
]);
type LocalOutput = z.infer<typeof LocalOutput>;

export function localCommand(): Command {
  return new Command('local')
    .description('print base URL, key and examples for programs on this machine')
    .option('--json', 'one JSON object; {} and exit 1 when nothing runs')
    .option('--open', 'open the console in the browser, signed in')
    .addHelpText(
      'after',
      `
Examples:
  $ darkbloom-provider local --open
  $ export OPENAI_API_KEY=$(darkbloom-provider local --json | jq -r .api_key)`,
    )
    .action(local);
}

async function local({ json, open }: { json?: true; open?: true }): Promise<void> {
  if (json === true && open === true) throw new DarkbloomError('usage', 'Choose one of --json and --open.');
  const home = findHome(environment);
  const record = await answeringDaemon(home.discovery);
  if (json === true) {
    const output: LocalOutput = record === undefined ? {} : { schema_version: 1, ...record };
    print(JSON.stringify(output));
    if (record === undefined) process.exitCode = 1;
    return;
  }
  if (record === undefined) {
    throw new DarkbloomError(
      'machine_offline',
      'No daemon runs in this home. Start it with `darkbloom-provider start`.',
    );
  }
  if (open === true) {
    await openConsole(home, record, loadSettings(home, environment, {}));
    return;
  }
  const { base_url: baseUrl, api_key: apiKey } = record;
  printFact('base URL', baseUrl);
  printFact('key', apiKey);
  print();
  print(snippets({ baseUrl, apiKey, model: await firstModel(baseUrl, apiKey) }));
}

const LIST_TIMEOUT_MS = 5_000;

async function firstModel(baseUrl: string, apiKey: string): Promise<string> {
  const response = await fetch(`${baseUrl}/models`, {
    headers: { authorization: `Bearer ${apiKey}` },
    signal: AbortSignal.timeout(LIST_TIMEOUT_MS),
  });
  const list = (await response.json()) as { data?: { id: string }[] };
  return list.data?.[0]?.id ?? 'MODEL';
}
