import { mkdirSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import { homeAt, type Home } from '../../src/config.js';
import { readUsage } from '../../src/service/usage-journal.js';
import { RunningCommand } from '../support/command.js';
import { eventually } from '../support/eventually.js';
import { linkHome } from '../support/linking.js';
import { sayModel } from '../support/made-models.js';
import { RecordingProxy } from '../support/recording-proxy.js';
import { TemporaryHome } from '../support/temporary-home.js';

/** Words that are nowhere else: what is asked, and of what is answered (test/support/made-models.ts) the rare ones. */
const CANARIES = ['zanthoxylum', 'quixotry', 'bdellium', 'flumadiddle'];
const PROMPT = CANARIES.join(' ');
const ANSWER = 'Hello there, this is a deterministic test reply.';
const SECRET_WORDS = [...CANARIES, 'deterministic', 'Hello there'];

/** The build id of the answering model: the coordinator does not know the provider's own file. */
const BUILD = 'local/say-f16';

let temporary: TemporaryHome;
let coordinatorHome: Home;
let providerHome: Home;
let coordinator: RunningCommand;
let proxy: RecordingProxy;
let provider: RunningCommand;
let coordinatorUrl: string;
let directUrl: string;
/** Of a file with more than the secret, the first line. */
const secretIn = (path: string) => readFileSync(path, 'utf8').split('\n')[0] ?? '';

beforeAll(async () => {
  temporary = new TemporaryHome();
  const { folder } = temporary.home;
  coordinatorHome = homeAt(join(folder, 'coordinator'));
  providerHome = homeAt(join(folder, 'provider'));
  mkdirSync(join(folder, 'tmp'));
  const env = { DARKBLOOM_PROVIDER_LOG_LEVEL: 'debug', TMPDIR: join(folder, 'tmp') };

  coordinator = new RunningCommand(['coordinator', '--port', '0'], coordinatorHome.folder, env);
  coordinatorUrl = (await coordinator.says(/address\s+(\S+)/u))[1] ?? '';
  await coordinator.says(/Ready\./u);
  proxy = await RecordingProxy.listen(Number(new URL(coordinatorUrl).port));
  const ownerToken = secretIn(coordinatorHome.ownerToken);
  await linkHome(providerHome, { coordinatorUrl, ownerToken, address: proxy.url });
  provider = new RunningCommand(['start', '--foreground', '--port', '0'], providerHome.folder, {
    ...env,
    DARKBLOOM_PROVIDER_MODELS_FILES: `say=${sayModel()}`,
    DARKBLOOM_PROVIDER_ENGINE_CONTEXT_TOKENS: '512',
  });
  directUrl = (await provider.says(/address\s+(\S+)\/v1/u))[1] ?? '';
  await provider.says(/link online/u);

  await askEverything(coordinatorUrl, secretIn(coordinatorHome.ownerKey), BUILD);
  await askEverything(directUrl, secretIn(providerHome.localToken), 'say');
});
afterAll(async () => {
  await provider[Symbol.asyncDispose]();
  await proxy[Symbol.asyncDispose]();
  await coordinator[Symbol.asyncDispose]();
  temporary[Symbol.dispose]();
});

/** Good requests of both dialects, whole and streamed, and requests that fail in each place: errors are where words get
 *  out. */
async function askEverything(url: string, key: string, model: string): Promise<void> {
  const messages = [{ role: 'user', content: PROMPT }];
  const good = { model, messages, max_tokens: 50, temperature: 0 };
  await eventually('the model answers', async () => {
    const { status, text } = await post(url, '/v1/chat/completions', key, good);
    return status === 503 ? undefined : expect(text).toContain(ANSWER);
  });
  const streamed = await post(url, '/v1/messages', key, { ...good, stream: true });
  expect(streamed.text.match(/text_delta/gu)?.length).toBeGreaterThan(3);

  const bad: [status: number, body: object | string][] = [
    [400, `{"model": "${model}", "messages": "${PROMPT}`],
    [400, { ...good, messages: [{ role: PROMPT, content: PROMPT }] }],
    [400, { ...good, messages: [{ role: 'user', content: { text: PROMPT } }] }],
    [400, { ...good, stop: [PROMPT, ...CANARIES] }],
    [400, { ...good, tools: [{ name: PROMPT }] }],
    [400, { ...good, messages: [{ role: 'user', content: PROMPT.repeat(50) }] }],
  ];
  for (const path of ['/v1/chat/completions', '/v1/messages']) {
    for (const [status, body] of bad) {
      const refused = await post(url, path, key, body);
      if (path === '/v1/chat/completions' || typeof body === 'string') expect(refused.status).toBe(status);
      for (const word of CANARIES) expect(refused.text).not.toContain(word);
    }
  }
}

async function post(url: string, path: string, key: string, body: object | string) {
  const response = await fetch(`${url}${path}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  });
  return { status: response.status, text: await response.text() };
}

test('on the socket between the two no word of prompt or answer is in clear', () => {
  const Frame = z.object({ type: z.string() });
  const frames = [...proxy.dialledFrames, ...proxy.answeredFrames];
  const types = new Set(frames.map((frame) => Frame.parse(JSON.parse(frame)).type));
  const ofARequest = ['inference_request', 'inference_accepted', 'inference_response_chunk', 'inference_complete'];
  expect([...types]).toEqual(expect.arrayContaining(['register', ...ofARequest, 'inference_error']));
  for (const word of SECRET_WORDS) expect(frames.filter((frame) => frame.includes(word))).toEqual([]);
});

test('nothing of prompt or answer is kept: not in the homes, the database, its log or a temporary file', () => {
  const files = filesIn(temporary.home.folder);
  expect(files.map(({ path }) => path).join('\n')).toMatch(/coordinator\.db-wal/u);
  for (const word of SECRET_WORDS) {
    expect(files.filter(({ bytes }) => bytes.includes(word)).map(({ path }) => path)).toEqual([]);
  }
});

test('nothing of prompt or answer is logged, not even at debug', () => {
  expect(provider.stderr).toMatch(/model loaded.*request failed/su);
  for (const output of outputs()) for (const word of SECRET_WORDS) expect(output).not.toContain(word);
});

test('no key or token is in a database or a log: only in its own 0600 file', () => {
  const own = [coordinatorHome, providerHome].flatMap(({ ownerToken, ownerKey, linkToken, localToken, discovery }) => [
    ownerToken,
    ownerKey,
    linkToken,
    localToken,
    discovery,
  ]);
  const others = filesIn(temporary.home.folder).filter(({ path }) => !own.includes(path));
  expect(others.map(({ path }) => path)).toContain(coordinatorHome.database);
  const { ownerToken, ownerKey } = coordinatorHome;
  const { linkToken, localToken } = providerHome;
  for (const secret of [ownerToken, ownerKey, linkToken, localToken].map(secretIn)) {
    expect(others.filter(({ bytes }) => bytes.includes(secret)).map(({ path }) => path)).toEqual([]);
    for (const output of outputs()) expect(output).not.toContain(secret);
  }
});

test('nor is anything kept when the daemon stops: the usage journal has counts alone', async () => {
  expect(await provider.stop()).toBe(0);
  const rows = readUsage(providerHome.usage); // strict: a row has no other field
  expect(new Set(rows.map(({ model, for: who }) => `${model} ${who}`))).toEqual(new Set(['say own']));
  expect(rows.reduce((sum, { completed }) => sum + completed, 0)).toBeGreaterThanOrEqual(4);
  for (const word of SECRET_WORDS) {
    const files = filesIn(temporary.home.folder).filter(({ bytes }) => bytes.includes(word));
    expect(files.map(({ path }) => path)).toEqual([]);
  }
});

function outputs(): string[] {
  return [coordinator, provider].flatMap(({ stdout, stderr }) => [stdout, stderr]);
}

function filesIn(folder: string): { path: string; bytes: Buffer }[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .map((name) => join(folder, name))
    .filter((path) => statSync(path).isFile())
    .map((path) => ({ path, bytes: readFileSync(path) }));
}
