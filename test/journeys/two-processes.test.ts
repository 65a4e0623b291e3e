import { readdirSync, readFileSync, statSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import { homeAt, type Home } from '../../src/config.js';
import { readFileIfPresent } from '../../src/util/files.js';
import { RunningCommand, runCommand } from '../support/command.js';
import { eventually } from '../support/eventually.js';
import { writeLink } from '../support/linking.js';
import { portOf } from '../support/port-of.js';
import { argumentsOf, descendantsOf, environmentOf, hasProc } from '../support/processes.js';
import { TemporaryHome } from '../support/temporary-home.js';

const MODEL = 'darkbloom-tiny-chat';
const ANSWER = 'Hello! I am Darkbloom Tiny Chat. How can I help you today?';
const HELLO = { model: MODEL, messages: [{ role: 'user', content: 'Hello, Darkbloom!' }], temperature: 0 };

/** What every process of this story was started with. */
const seen: { command: string; texts: string[] }[] = [];
function look(pid: number): void {
  if (!hasProc) return;
  for (const each of [pid, ...descendantsOf(pid)]) {
    const command = argumentsOf(each);
    seen.push({ command: command.join(' '), texts: [...command, ...environmentOf(each)] });
  }
}

/** A coordinator and a provider, each in a home that did not exist before; linked as a person links them. */
let temporary: TemporaryHome;
let coordinatorHome: Home;
let providerHome: Home;
let coordinator: RunningCommand;
let provider: RunningCommand;
let coordinatorUrl: string;
let ownerKey: string;
let refusedUnlinked: { status: number; code: string };

beforeAll(async () => {
  temporary = new TemporaryHome();
  coordinatorHome = homeAt(join(temporary.home.folder, 'coordinator'));
  providerHome = homeAt(join(temporary.home.folder, 'provider'));
  coordinator = new RunningCommand(['coordinator', '--port', '0'], coordinatorHome.folder);
  coordinatorUrl = (await coordinator.says(/address\s+(\S+)/u))[1] ?? '';
  await coordinator.says(/Ready\./u);
  ownerKey = (await localRecord(coordinatorHome)).api_key;

  await using link = new RunningCommand(['link', coordinatorUrl], providerHome.folder);
  const code = (await link.says(/^Code: (\S+)$/mu))[1] ?? '';
  look(link.pid);
  refusedUnlinked = await askWithoutLink(); // while `link` waits for its next poll
  const approved = await runCommand(['coordinator', 'approve', code], coordinatorHome.folder);
  expect(approved).toMatchObject({ code: 0, stderr: '' });
  expect(await link.ended()).toBe(0);

  provider = new RunningCommand(['start', '--foreground', '--port', '0'], providerHome.folder);
  await provider.says(/link online/u);
});
afterAll(async () => {
  await provider[Symbol.asyncDispose]();
  await coordinator[Symbol.asyncDispose]();
  temporary[Symbol.dispose]();
});

const LocalRecord = z.object({ base_url: z.string(), api_key: z.string(), mode: z.string() });
async function localRecord({ folder }: Home) {
  return LocalRecord.parse(JSON.parse((await runCommand(['local', '--json'], folder)).stdout));
}

function ask(baseUrl: string, key?: string): Promise<Response> {
  return fetch(`${baseUrl}/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...(key === undefined ? {} : { authorization: `Bearer ${key}` }) },
    body: JSON.stringify(HELLO),
  });
}

/** The answer to the owner, as soon as the provider can be routed to. */
const answered = () =>
  eventually('the provider answers through the coordinator', async () => {
    const response = await ask(`${coordinatorUrl}/v1`, ownerKey);
    return response.status === 503 ? undefined : response;
  });

const Completion = z.object({ choices: z.tuple([z.object({ message: z.object({ content: z.string() }) })]) });
const textOf = async (response: Response) => Completion.parse(await response.json()).choices[0].message.content;
const ErrorBody = z.object({ error: z.object({ code: z.string() }) });
const providersOf = async () =>
  z.object({ providers: z.number() }).parse(await (await fetch(`${coordinatorUrl}/health`)).json()).providers;

/** What the owner hears while the only machine there has a link token that the coordinator does not know. */
async function askWithoutLink(): Promise<{ status: number; code: string }> {
  const home = homeAt(join(temporary.home.folder, 'stranger'));
  writeLink(home, coordinatorUrl, 'eigeninference-pt-wrong');
  await using stranger = new RunningCommand(['start', '--foreground', '--port', '0'], home.folder);
  await stranger.says(/link online/u);
  await coordinator.says(/link token that is not valid/u);
  const refused = await ask(`${coordinatorUrl}/v1`, ownerKey);
  expect(await providersOf()).toBe(1);
  expect(await stranger.stop()).toBe(0);
  expect(stranger.stderr).not.toContain('link lost');
  return { status: refused.status, code: ErrorBody.parse(await refused.json()).error.code };
}

test("the owner's request to the coordinator is answered by the other process, sealed and free", async () => {
  const response = await answered();
  expect(response.status).toBe(200);
  expect(await textOf(response)).toBe(ANSWER);
  expect(response.headers.get('x-provider-encrypted')).toBe('true');
  const usage = await fetch(`${coordinatorUrl}/v1/payments/usage`, {
    headers: { authorization: `Bearer ${ownerKey}` },
  });
  expect(await usage.json()).toMatchObject({ usage: [{ model: MODEL, route: 'self', cost_micro_usd: 0 }] });
});

test('the linked machine answers its own programs directly, and nobody without its local token', async () => {
  const { base_url: baseUrl, api_key: token, mode } = await localRecord(providerHome);
  expect(mode).toBe('linked');
  expect(await textOf(await ask(baseUrl, token))).toBe(ANSWER);
  for (const wrong of [undefined, 'dk-local-wrong', ownerKey]) {
    const refused = await ask(baseUrl, wrong);
    expect(refused.status).toBe(401);
    expect(await refused.json()).toMatchObject({ error: { type: 'authentication_error' } });
  }
});

test('a machine with a wrong link token stays connected, linked to nobody: the owner has no machine', () => {
  expect(refusedUnlinked).toEqual({ status: 409, code: 'no_linked_machine' });
});

test.skipIf(!hasProc)('no secret stands in the arguments or the environment of any process', async () => {
  look(coordinator.pid);
  look(provider.pid);
  expect(seen.map(({ command }) => command).join('\n')).toMatch(/ link .*runner\/main\.js/su);
  const secrets = [
    coordinatorHome.ownerToken,
    coordinatorHome.ownerKey,
    providerHome.linkToken,
    providerHome.localToken,
  ].map((path) => readFileSync(path, 'utf8').split('\n')[0] ?? '');
  for (const secret of secrets) {
    expect(secret).toMatch(/^(db-login-|sk-db-|eigeninference-pt-|dk-local-).{40,}$/u);
    expect(seen.filter(({ texts }) => texts.some((text) => text.includes(secret)))).toEqual([]);
  }
});

test('both homes are private, folder and every file', () => {
  for (const { folder } of [coordinatorHome, providerHome]) {
    expect(modeOf(folder)).toBe('700');
    const files = readdirSync(folder, { recursive: true, encoding: 'utf8' });
    expect(files.length).toBeGreaterThan(3);
    expect(files.filter((file) => modeOf(join(folder, file)) !== '600')).toEqual([]);
  }
});

function modeOf(path: string): string {
  return (statSync(path).mode & 0o777).toString(8);
}

test('a coordinator that comes back has its provider again, and the key is still good', async () => {
  expect(await coordinator.stop()).toBe(0);
  await provider.says(/link lost/u);
  expect((await ask(`${coordinatorUrl}/v1`, ownerKey).catch(() => undefined))?.status).toBeUndefined();

  coordinator = new RunningCommand(['coordinator', '--port', new URL(coordinatorUrl).port], coordinatorHome.folder);
  await coordinator.says(/Ready\./u);
  await provider.says(/(link online.*){2}/su);
  expect(await textOf(await answered())).toBe(ANSWER);
});

/** Something that is no coordinator, and an address where nothing listens. */
async function otherServer(status: number, body: string): Promise<Server> {
  const server = createServer((_request, response) => response.writeHead(status).end(body));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return server;
}
const urlOf = (server: Server) => `http://127.0.0.1:${portOf(server)}`;

test('link says in one sentence what is wrong with an address, and leaves nothing behind', async () => {
  const home = homeAt(join(temporary.home.folder, 'unlinked'));
  const page = await otherServer(200, '<h1>Welcome</h1>');
  const missing = await otherServer(404, '{"message":"no such page"}');
  const json = await otherServer(200, '{"hello":"there"}');
  const dead = await otherServer(200, '');
  const deadUrl = urlOf(dead);
  dead.close();
  const cases: [address: string, code: number, sentence: RegExp][] = [
    [deadUrl, 76, /cannot be reached\. Check the address and that the coordinator runs\./u],
    [urlOf(page), 76, /answered 200, but not like a coordinator\. Check the address\./u],
    [urlOf(missing), 76, /answered 404, but not like a coordinator\. Check the address\./u],
    [urlOf(json), 76, /does not answer like a coordinator\. Check the address\./u],
    ['studio.local:8787', 64, /That is not an address like http:\/\//u],
    ['ftp://studio.local', 64, /is not an address like http:\/\//u],
    ['http://me:secret@studio.local', 64, /no login, query or fragment/u],
  ];
  for (const [address, code, sentence] of cases) {
    const ended = await runCommand(['link', address], home.folder);
    expect(ended).toMatchObject({ code, stdout: '' });
    expect(ended.stderr).toMatch(sentence);
    expect(ended.stderr.trimEnd().split('\n')).toHaveLength(1);
  }
  for (const server of [page, missing, json]) server.close();
  expect(readFileIfPresent(home.linkToken)).toBeUndefined();
  expect(readFileIfPresent(home.config)).toBeUndefined();
});
