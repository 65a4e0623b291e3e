import { Command, InvalidArgumentError } from 'commander';
import { z } from 'zod';
import { DarkbloomError } from '../../../errors.js';
import type { JsonObject } from '../../../inference/types.js';
import { asOwner } from '../../as-owner.js';
import { printJson, SchemaVersion } from '../../json-output.js';
import { print, printDone } from '../../style.js';
import { printTable } from '../../table.js';

const Key = z.object({
  id: z.string().describe('Id of the key'),
  name: z.string().describe('Its name; may be empty'),
  label: z.string().describe('What may be shown of the secret'),
  disabled: z.boolean().describe('It is refused until it is enabled'),
  limit_usd: z.number().optional().describe('What it may spend in each window, USD; absent: no limit of its own'),
  limit_reset: z.string().describe('The window: none, daily, weekly or monthly, by the UTC calendar'),
  usage_usd: z.number().describe('What was spent in this window, USD'),
  remaining_usd: z.number().optional().describe('What is left of the limit, USD'),
  rpm_limit: z.number().optional().describe('Requests in a minute; absent: no limit'),
  itpm_limit: z.number().optional().describe('Prompt tokens in a minute; absent: no limit'),
  otpm_limit: z.number().optional().describe('Output tokens in a minute; absent: no limit'),
  allowed_models: z.array(z.string()).optional().describe('Models it may name; absent: all'),
  self_route_only: z.boolean().describe("It is served by its owner's machines alone"),
  expires_at: z.string().optional().describe('RFC 3339; absent: never'),
  created_at: z.string().describe('RFC 3339'),
  last_used_at: z.string().optional().describe('RFC 3339, to the minute; absent: never'),
});
type Key = z.infer<typeof Key>;
const Made = z.object({ key: z.string(), data: Key });

export const KeysOutput = z.object({
  schema_version: SchemaVersion,
  keys: z.array(Key).describe("API keys of the owner's account"),
});
type KeysOutput = z.infer<typeof KeysOutput>;

/** What can be set of a key. A text that is empty, or `none`, takes the limit away. */
interface KeyFlags {
  name?: string;
  limit?: number | 'none';
  reset?: string;
  rpm?: number;
  itpm?: number;
  otpm?: number;
  models?: string;
  selfOnly?: boolean;
  expires?: string;
  disable?: true;
  enable?: true;
}

/** The owner's own API keys. Others make theirs with their login token: `POST /v1/keys`. */
export function keysCommand(): Command {
  const command = new Command('keys').description("API keys of the owner's account").addHelpText(
    'after',
    `
Examples:
  $ darkbloom-provider coordinator keys create laptop --limit 5 --reset monthly
  $ darkbloom-provider coordinator keys change key_0123 --disable
  $ darkbloom-provider coordinator keys change key_0123 --limit none --models ""
  $ darkbloom-provider coordinator keys rotate key_0123`,
  );
  command
    .command('list', { isDefault: true })
    .description('all keys, with what was spent')
    .option('--json', 'one JSON object')
    .action(list);
  withLimits(command.command('create').description('make a key and print its secret, once').argument('[name]')).action(
    create,
  );
  withLimits(command.command('change').description('change what is said of a key').argument('<id>'))
    .option('--name <name>', 'its name')
    .option('--no-self-only', 'let machines of others serve it too')
    .option('--disable', 'refuse it until it is enabled')
    .option('--enable', 'take it again')
    .action(change);
  command
    .command('rotate')
    .description('give a key a new secret, printed once; the old one is dead at once')
    .argument('<id>')
    .action(rotate);
  command.command('revoke').description('delete a key; it is dead at once').argument('<id>').action(revoke);
  return command;
}

function withLimits(command: Command): Command {
  return command
    .option('--limit <usd>', 'what it may spend in each window, USD; none: no limit', usdOrNone)
    .option('--reset <window>', 'none, daily, weekly or monthly')
    .option('--rpm <number>', 'requests in a minute; 0: no limit', count)
    .option('--itpm <number>', 'prompt tokens in a minute; 0: no limit', count)
    .option('--otpm <number>', 'output tokens in a minute; 0: no limit', count)
    .option('--models <names>', 'models it may name, parted by commas; empty: all')
    .option('--self-only', 'served by your own machines alone')
    .option('--expires <time>', 'RFC 3339, for example 2027-01-01T00:00:00Z; none: never');
}

function usdOrNone(text: string): number | 'none' {
  if (text === 'none') return text;
  if (/^\d+(\.\d{1,6})?$/u.test(text)) return Number(text);
  throw new InvalidArgumentError('an amount is a number with at most six decimals, or none.');
}

function count(text: string): number {
  if (/^\d+$/u.test(text)) return Number(text);
  throw new InvalidArgumentError('must be a whole number.');
}

/** The body of a request: only what was said. */
function bodyOf(flags: KeyFlags): JsonObject {
  const { disable, enable, expires, models } = flags;
  if (disable === true && enable === true) throw new DarkbloomError('usage', 'Say --disable or --enable, not both.');
  const said = {
    name: flags.name,
    limit_usd: flags.limit === 'none' ? null : flags.limit,
    limit_reset: flags.reset,
    rpm_limit: flags.rpm,
    itpm_limit: flags.itpm,
    otpm_limit: flags.otpm,
    allowed_models: models?.split(',').filter((name) => name !== ''),
    self_route_only: flags.selfOnly,
    expires_at: expires === 'none' ? null : expires,
    disabled: disable === true ? true : enable === true ? false : undefined,
  };
  return Object.fromEntries(Object.entries(said).filter(([, value]) => value !== undefined));
}

async function list({ json }: { json?: true }): Promise<void> {
  const { data } = await asOwner({ method: 'GET', path: '/v1/keys' });
  const output = KeysOutput.parse({ schema_version: 1, keys: data });
  if (json === true) {
    printJson<KeysOutput>(output);
    return;
  }
  printTable({
    head: ['id', 'name', 'secret', 'spent USD', 'limit', 'last used', ''],
    rows: output.keys.map((key) => [
      key.id,
      key.name,
      key.label,
      key.usage_usd.toFixed(6),
      limitText(key),
      key.last_used_at?.slice(0, 16).replace('T', ' ') ?? 'never',
      [...(key.disabled ? ['disabled'] : []), ...(key.self_route_only ? ['own machines only'] : [])].join(', '),
    ]),
    spare: ['last used', 'secret', 'limit'],
  });
}

function limitText({ limit_usd: limit, limit_reset: reset }: Key): string {
  if (limit === undefined) return 'none';
  return reset === 'none' ? String(limit) : `${limit} ${reset}`;
}

async function create(name: string | undefined, flags: KeyFlags): Promise<void> {
  const body = bodyOf({ ...flags, ...(name === undefined ? {} : { name }) });
  const { key, data } = Made.parse(await asOwner({ method: 'POST', path: '/v1/keys', body }));
  printDone(`Key ${data.id}. Its secret, shown only now:`);
  print(key);
}

async function change(id: string, flags: KeyFlags): Promise<void> {
  const body = bodyOf(flags);
  if (Object.keys(body).length === 0) {
    throw new DarkbloomError('usage', 'Say what to change: `darkbloom-provider coordinator keys change --help`.');
  }
  await asOwner({ method: 'PATCH', path: pathOf(id), body });
  printDone(`Key ${id} was changed.`);
}

async function rotate(id: string): Promise<void> {
  const { key } = Made.parse(await asOwner({ method: 'POST', path: `${pathOf(id)}/rotate` }));
  printDone(`Key ${id} has a new secret, shown only now. The old one is dead.`);
  print(key);
}

async function revoke(id: string): Promise<void> {
  await asOwner({ method: 'DELETE', path: pathOf(id) });
  printDone(`Key ${id} is revoked.`);
}

function pathOf(id: string): string {
  return `/v1/keys/${encodeURIComponent(id)}`;
}
