import { Command } from 'commander';
import { environment, findHome } from '../../config.js';
import { DarkbloomError } from '../../errors.js';
import { readDiscovery } from '../../service/discovery.js';
import { snippets } from '../snippets.js';
import { print, printFact } from '../style.js';

const SCHEMA_VERSION = 1;

export function localCommand(): Command {
  return new Command('local')
    .description('print base URL, key and examples for programs on this machine')
    .option('--json', 'one JSON object; {} and exit 1 when nothing runs')
    .addHelpText('after', '\nExample:\n  $ export OPENAI_API_KEY=$(darkbloom-provider local --json | jq -r .api_key)')
    .action(local);
}

async function local({ json }: { json?: true }): Promise<void> {
  const home = findHome(environment);
  const record = readDiscovery(home.discovery);
  if (json === true) {
    print(JSON.stringify(record === undefined ? {} : { schema_version: SCHEMA_VERSION, ...record }));
    if (record === undefined) process.exitCode = 1;
    return;
  }
  if (record === undefined) {
    throw new DarkbloomError(
      'machine_offline',
      'No daemon runs in this home. Start it with `darkbloom-provider start`.',
    );
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
