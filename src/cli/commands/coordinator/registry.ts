import { readFileSync } from 'node:fs';
import { Command, InvalidArgumentError } from 'commander';
import { z } from 'zod';
import { DarkbloomError } from '../../../errors.js';
import { isJsonObject, type JsonObject } from '../../../inference/types.js';
import { tryJson } from '../../../util/json.js';
import { asOwner } from '../../as-owner.js';
import { printJson, SchemaVersion } from '../../json-output.js';
import { print, printDone } from '../../style.js';
import { printTable } from '../../table.js';

export const RegistryOutput = z.object({
  schema_version: SchemaVersion,
  models: z
    .array(
      z.object({
        id: z.string().describe('Build id'),
        display_name: z.string().describe('Its name for people'),
        version: z.string().describe('Version of its files'),
        quantization: z.string().describe('`Q4_K_M`, `F16`'),
        total_size_bytes: z.number().describe('Size of its files; 0: not known'),
        active: z.boolean().describe('Consumers may ask for it'),
        input_price: z.number().optional().describe('Micro-USD per million prompt tokens; absent: the fallback'),
        output_price: z.number().optional().describe('Micro-USD per million output tokens; absent: the fallback'),
      }),
    )
    .describe('Builds that the coordinator knows'),
  aliases: z
    .array(
      z.object({
        id: z.string().describe('What consumers call it'),
        desired_build: z.string().describe('The build that it should stand for'),
        previous_build: z.string().optional().describe('The build that may answer until then'),
        retired_builds: z.array(z.string()).describe('Builds that it stood for once'),
        primary_build: z.string().optional().describe('The build that answers now; absent: none is active'),
      }),
    )
    .describe('Names that consumers use'),
});
type RegistryOutput = z.infer<typeof RegistryOutput>;

/** Models, aliases and prices of the coordinator in this home. */
export function registryCommand(): Command {
  const command = new Command('registry').description('models, aliases and prices of this coordinator').addHelpText(
    'after',
    `
A build is one artifact, for example local/story-q4; an alias is the name that consumers use for the newest of its builds.

Examples:
  $ darkbloom-provider coordinator registry add story.json
  $ darkbloom-provider coordinator registry alias story local/story-q4
  $ darkbloom-provider coordinator registry price local/story-q4 0.05 0.20
  $ darkbloom-provider coordinator registry retire local/story-q2`,
  );
  command
    .command('list', { isDefault: true })
    .description('all builds with their prices, and all aliases')
    .option('--json', 'one JSON object')
    .action(list);
  command
    .command('add')
    .description('register the build that a JSON file describes (docs/coordinator.md)')
    .argument('<file>')
    .action(add);
  command
    .command('retire')
    .description('let nobody ask for a build any more; its aliases fall back to their previous one')
    .argument('<build>')
    .action((build: string) => activate(build, false));
  command
    .command('activate')
    .description('let consumers ask for a build')
    .argument('<build>')
    .action((build: string) => activate(build, true));
  command
    .command('alias')
    .description('let a name stand for a build; the one before becomes its previous build')
    .argument('<alias>')
    .argument('<build>')
    .option('--previous <build>', 'the build that may answer beside it; none: no other')
    .option('--display-name <name>', 'its name for people')
    .action(setAlias);
  command
    .command('unalias')
    .description('take a name away; one that came with the program is back at the next start')
    .argument('<alias>')
    .action(removeAlias);
  command
    .command('price')
    .description('what a build costs, USD per million tokens')
    .argument('<build>')
    .argument('<input>', 'for prompt tokens, for example 0.05', microUsd)
    .argument('<output>', 'for output tokens, for example 0.20', microUsd)
    .action(setPrice);
  return command;
}

/** Prices are whole micro-USD on the wire. */
function microUsd(text: string): number {
  if (/^\d+(\.\d{1,6})?$/u.test(text) && Number(text) > 0) return Math.round(Number(text) * 1e6);
  throw new InvalidArgumentError('a price is a number above 0 with at most six decimals.');
}

async function list({ json }: { json?: true }): Promise<void> {
  const answer = await asOwner({ method: 'GET', path: '/v1/admin/models' });
  const output = RegistryOutput.parse({ schema_version: 1, ...answer });
  if (json === true) {
    printJson<RegistryOutput>(output);
    return;
  }
  const usd = (micro: number | undefined) => (micro === undefined ? 'fallback' : (micro / 1e6).toFixed(4));
  printTable({
    head: ['build', 'state', 'version', 'prompt USD/M', 'output USD/M'],
    rows: output.models.map(({ id, active, version, input_price: input, output_price: out }) => [
      id,
      active ? 'active' : 'retired',
      version,
      usd(input),
      usd(out),
    ]),
    spare: ['version'],
  });
  print();
  printTable({
    head: ['alias', 'answers now', 'desired', 'previous'],
    rows: output.aliases.map(({ id, primary_build: now, desired_build: desired, previous_build: previous }) => [
      id,
      now ?? 'nothing',
      desired,
      previous ?? '',
    ]),
    spare: ['previous', 'desired'],
  });
}

async function add(file: string): Promise<void> {
  const body = readObject(file);
  await asOwner({ method: 'POST', path: '/v1/admin/models/register', body });
  const promoted = body['promote'] === true ? '' : ' It is not active yet: registry activate.';
  printDone(`${String(body['model_id'])} is registered.${promoted}`);
}

/** @throws DarkbloomError `usage`. */
function readObject(file: string): JsonObject {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (cause) {
    throw new DarkbloomError('usage', `${file} cannot be read. Name a JSON file.`, { cause });
  }
  const json = tryJson(text);
  if (isJsonObject(json)) return json;
  throw new DarkbloomError('usage', `${file} does not hold a JSON object. docs/coordinator.md has an example.`);
}

async function activate(build: string, active: boolean): Promise<void> {
  await asOwner({ method: 'PATCH', path: `/v1/admin/models/${pathText(build)}`, body: { active } });
  printDone(`${build} is ${active ? 'active' : 'retired'}.`);
}

async function setAlias(
  alias: string,
  build: string,
  flags: { previous?: string; displayName?: string },
): Promise<void> {
  const { previous, displayName } = flags;
  const body = {
    desired_build: build,
    ...(previous === undefined ? {} : { previous_build: previous === 'none' ? null : previous }),
    ...(displayName === undefined ? {} : { display_name: displayName }),
  };
  await asOwner({ method: 'PUT', path: `/v1/admin/aliases/${pathText(alias)}`, body });
  printDone(`${alias} stands for ${build}.`);
}

async function removeAlias(alias: string): Promise<void> {
  await asOwner({ method: 'DELETE', path: `/v1/admin/aliases/${pathText(alias)}` });
  printDone(`${alias} stands for nothing any more.`);
}

async function setPrice(build: string, input: number, output: number): Promise<void> {
  const body = { model: build, input_price: input, output_price: output };
  await asOwner({ method: 'PUT', path: '/v1/admin/pricing', body });
  printDone(`${build} has its price; requests that run keep the old one.`);
}

/** Ids hold slashes. */
function pathText(id: string): string {
  return id.split('/').map(encodeURIComponent).join('/');
}
