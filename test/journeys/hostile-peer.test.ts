import { createServer } from 'node:http';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { expect, onTestFinished, test } from 'vitest';
import { writeDiscovery } from '../../src/service/discovery.js';
import { runCommand } from '../support/command.js';
import { portOf } from '../support/port-of.js';
import { TemporaryHome } from '../support/temporary-home.js';

/** Clears the screen, names the window, in C0 and in C1; and colours. */
const STEERING = 'eve\u001B[2J\u001B]0;owned\u0007\u009B31m\u001B[31m\r\u007F';
const SHOWN = 'eve[2J]0;owned31m[31m';

/** A coordinator that answers everything with this. */
async function coordinatorThatSays(status: number, body: object): Promise<string> {
  const server = createServer((_, response) => {
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${portOf(server)}`;
}

test("a coordinator's refusal cannot steer the terminal of who reads it", async () => {
  using temporary = new TemporaryHome();
  const url = await coordinatorThatSays(400, { error: { type: 'invalid_request_error', message: STEERING } });
  const { code, stdout, stderr } = await runCommand(['link', url], temporary.home.folder);
  expect([code, stdout, stderr]).toEqual([64, '', `error ${SHOWN}\n`]);
});

test('nor can the name of an account, which JSON still tells as it is', async () => {
  using temporary = new TemporaryHome();
  const { home } = temporary;
  const account = { id: 'acct_eve', name: STEERING, owner: false, accept_unattested: false, balance_usd: '1.00' };
  const url = await coordinatorThatSays(200, { status: 'ok', version: '0.7.0', accounts: [account] });
  const { port, hostname: host } = new URL(url);
  const of = { host, port: Number(port), pid: process.pid, version: '0.7.0', updated_at: new Date().toISOString() };
  writeDiscovery(home.discovery, { base_url: `${url}/v1`, api_key: 'none', mode: 'coordinator', ...of });
  writeFileSync(home.ownerToken, 'token\n');

  const read = await runCommand(['coordinator', 'account', 'list'], home.folder);
  expect([read.code, read.stdout.trimEnd()]).toEqual([0, expect.stringMatching(/^\S+ +1\.00 USD$/u)]);
  expect(read.stdout.startsWith(`${SHOWN} `)).toBe(true);
  const { stdout } = await runCommand(['coordinator', 'account', 'list', '--json'], home.folder);
  expect(stdout.trimEnd()).not.toMatch(/\p{Cc}/u);
  expect(JSON.parse(stdout)).toMatchObject({ accounts: [{ name: STEERING }] });
});
