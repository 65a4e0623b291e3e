import { once } from 'node:events';
import { hostname } from 'node:os';
import { Command, InvalidArgumentError } from 'commander';
import { z } from 'zod';
import { environment, findHome, loadSettings, type Home, type Settings } from '../../config.js';
import { catalogModels } from '../../coordinator/catalog-models.js';
import { openCoordinator, ownerKey } from '../../coordinator/host.js';
import { DarkbloomError } from '../../errors.js';
import { createLog } from '../../log.js';
import { readCatalog } from '../../models/catalog.js';
import { readDiscovery, refuseSecondDaemon, removeDiscovery, writeDiscovery } from '../../service/discovery.js';
import { systemClock } from '../../util/clock.js';
import { makePrivateFolder, readFileIfPresent } from '../../util/files.js';
import { isLoopback } from '../../util/loopback.js';
import { VERSION } from '../../util/version.js';
import type { JsonObject } from '../../inference/types.js';
import { callCoordinator } from '../coordinator-client.js';
import { printJson, SchemaVersion } from '../json-output.js';
import { warnAboutNetwork } from '../network-warning.js';
import { listenForStop } from '../stopping.js';
import { print, printDone, printFact, runningRequests, style } from '../style.js';
import { addBooksCommands } from './coordinator/books.js';
import { portNumber } from './start.js';

/** Running requests get so long to end before a stop cuts them off. */
const DRAIN_TIMEOUT_MS = 30_000;

export const AccountsOutput = z.object({
  schema_version: SchemaVersion,
  accounts: z
    .array(
      z.object({
        id: z.string().describe('Id of the account'),
        name: z.string().describe('Its name'),
        owner: z.boolean().describe('It owns this coordinator'),
        accept_unattested: z.boolean().describe("Its paid requests may be served by other people's machines"),
        balance_usd: z.string().describe('What it may spend, USD, exact'),
      }),
    )
    .describe('Accounts of the coordinator in this home'),
});
type AccountsOutput = z.infer<typeof AccountsOutput>;

/** The coordinator alone, and its owner's administration. */
export function coordinatorCommand(): Command {
  const command = new Command('coordinator')
    .description('run a coordinator alone, for machines that link to it; or manage the one of this home')
    .option('--port <number>', 'HTTP port (8787); 0 takes a free one', portNumber)
    .option('--host <address>', 'address to bind (127.0.0.1)')
    .option('--tls-cert <file>', 'certificate (PEM) for TLS on the port; with --tls-key')
    .option('--tls-key <file>', 'its private key (PEM)')
    .option(
      '--accept-clear',
      'beyond this machine without TLS, and without the warning: keys cross the network in clear',
    )
    .addHelpText(
      'after',
      `
Examples:
  $ darkbloom-provider coordinator                       run one on port 8787
  $ darkbloom-provider coordinator approve 7KQH-M2XP     let a machine in that ran \`link\`
  $ darkbloom-provider coordinator account add anna      print anna's login token, once
  $ darkbloom-provider coordinator credit anna 5         give anna 5 USD to spend
  $ darkbloom-provider coordinator audit                 compute every balance again from the rows
  $ darkbloom-provider coordinator backup books.db       copy the books, also while it runs`,
    )
    .action(run);
  command
    .command('approve')
    .description('link the machine that shows this code to your account')
    .argument('<code>', 'for example 7KQH-M2XP')
    .action(approve);
  const account = command.command('account').description('accounts of this coordinator');
  account
    .command('add')
    .description('create an account and print its login token, once')
    .argument('<name>')
    .option('--accept-unattested', 'its paid requests may be served by other people’s machines, which prove nothing')
    .action(addAccount);
  account
    .command('list')
    .description('all accounts with their balances')
    .option('--json', 'one JSON object')
    .action(listAccounts);
  account
    .command('consent')
    .description("whether paid requests may be served by other people's machines, which prove nothing")
    .argument('<name>')
    .argument('<yes|no>', 'yes or no', yesOrNo)
    .action(setConsent);
  command
    .command('credit')
    .description('give an account money to spend on this coordinator')
    .argument('<name>')
    .argument('<usd>', 'amount in USD, for example 2.50', usdAmount)
    .action(credit);
  addBooksCommands(command);
  return command;
}

function yesOrNo(text: string): boolean {
  if (text === 'yes' || text === 'no') return text === 'yes';
  throw new InvalidArgumentError('say yes or no.');
}

function usdAmount(text: string): number {
  if (/^\d+(\.\d{1,6})?$/u.test(text) && Number(text) > 0) return Number(text);
  throw new InvalidArgumentError('an amount is a number above 0 with at most six decimals.');
}

interface RunFlags {
  port?: number;
  host?: string;
  tlsCert?: string;
  tlsKey?: string;
  acceptClear?: true;
}

async function run(flags: RunFlags): Promise<void> {
  const home = findHome(environment);
  const settings = loadSettings(home, environment, {
    ...(flags.port === undefined ? {} : { 'coordinator.port': flags.port }),
    ...(flags.host === undefined ? {} : { 'http.host': flags.host }),
    ...(flags.tlsCert === undefined ? {} : { 'http.tls_cert': flags.tlsCert }),
    ...(flags.tlsKey === undefined ? {} : { 'http.tls_key': flags.tlsKey }),
    ...(flags.acceptClear === undefined ? {} : { 'http.accept_clear': true }),
  });
  const log = createLog(settings.log.level, process.stderr);
  const stop = listenForStop();
  makePrivateFolder(home.folder);
  await refuseSecondDaemon(home.discovery);
  warnAboutNetwork(settings.http);
  const models = catalogModels(readCatalog(), systemClock.now());
  const coordinator = await openCoordinator({ home, settings, port: settings.coordinator.port, models, log });
  writeDiscovery(home.discovery, {
    base_url: `${coordinator.url}/v1`,
    api_key: ownerKey(home, coordinator),
    host: settings.http.host,
    port: coordinator.port,
    pid: process.pid,
    version: VERSION,
    mode: 'coordinator',
    updated_at: new Date(systemClock.now()).toISOString(),
  });
  print(`${style.bold('Darkbloom coordinator')} ${VERSION}`);
  printFact('address', coordinator.url);
  printFact('home', home.folder);
  print(
    `Ready. On another machine: darkbloom-provider link ${addressForOthers(settings.http, coordinator)}. Ctrl-C stops.`,
  );
  await stop.asked;
  if (coordinator.requestsRunning > 0) {
    print(`Stopping after ${runningRequests(coordinator.requestsRunning)}; Ctrl-C again stops now.`);
  }
  const enough = AbortSignal.any([stop.force, AbortSignal.timeout(DRAIN_TIMEOUT_MS)]);
  await Promise.race([coordinator.drain(), once(enough, 'abort')]);
  await coordinator.close();
  removeDiscovery(home.discovery);
  print('Stopped.');
}

/** Bound to every address, the machine's own name is what others can use. */
function addressForOthers(
  { host, tls_cert: certificate }: Settings['http'],
  { url, port }: { url: string; port: number },
): string {
  const plain = host === '0.0.0.0' || host === '::' ? `http://${hostname()}:${port}` : url;
  return certificate === undefined || isLoopback(host) ? plain : plain.replace(/^http:/u, 'https:');
}

async function approve(code: string): Promise<void> {
  await asOwner({ method: 'POST', path: '/v1/device/approve', body: { user_code: code } });
  printDone('Approved. The machine connects within a few seconds of its start.');
}

async function addAccount(name: string, { acceptUnattested }: { acceptUnattested?: true }): Promise<void> {
  const body = { name, accept_unattested: acceptUnattested ?? false };
  const answer = await asOwner({ method: 'POST', path: '/v1/admin/accounts', body });
  printDone(`Account ${name}. Its login token, shown only now (it makes API keys: POST /v1/keys):`);
  print(String(answer['login_token']));
}

async function listAccounts({ json }: { json?: true }): Promise<void> {
  const answer = await asOwner({ method: 'GET', path: '/v1/admin/accounts' });
  const output = AccountsOutput.parse({ schema_version: 1, ...answer });
  if (json === true) {
    printJson<AccountsOutput>(output);
    return;
  }
  for (const { name, balance_usd: balance, accept_unattested: consent } of output.accounts) {
    print(
      `${name.padEnd(20)} ${balance.padStart(14)} USD  ${consent ? "accepts other people's machines" : ''}`.trimEnd(),
    );
  }
}

async function setConsent(name: string, consent: boolean): Promise<void> {
  const path = `/v1/admin/accounts/${encodeURIComponent(name)}`;
  await asOwner({ method: 'PATCH', path, body: { accept_unattested: consent } });
  printDone(`${name} ${consent ? 'accepts' : 'no longer accepts'} machines of other people.`);
}

async function credit(name: string, usd: number): Promise<void> {
  const answer = await asOwner({ method: 'POST', path: '/v1/admin/credit', body: { account: name, amount_usd: usd } });
  printDone(`${name} now has ${String(answer['balance_usd'])} USD.`);
}

/** Calls the coordinator that runs in this home, with its owner's token from the 0600 file. */
async function asOwner(route: {
  method: 'GET' | 'POST' | 'PATCH';
  path: string;
  body?: JsonObject;
}): Promise<JsonObject> {
  const home = findHome(environment);
  return callCoordinator(runningCoordinator(home), { ...route, token: ownerToken(home) });
}

function runningCoordinator(home: Home): string {
  const record = readDiscovery(home.discovery);
  if (record === undefined || record.mode === 'linked') {
    throw new DarkbloomError(
      'machine_offline',
      'No coordinator runs in this home. Start one with `darkbloom-provider coordinator`, or `darkbloom-provider start`.',
    );
  }
  return record.base_url.replace(/\/v1$/u, '');
}

function ownerToken(home: Home): string {
  const token = readFileIfPresent(home.ownerToken)?.trim();
  if (token === undefined)
    throw new DarkbloomError(
      'not_logged_in',
      `${home.ownerToken} is missing. Restart the coordinator: it is made anew.`,
    );
  return token;
}
