import { once } from 'node:events';
import { copyFileSync, existsSync, mkdirSync, readFileSync, readdirSync, truncateSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { z } from 'zod';
import { auditBooks } from '../../src/coordinator/audit.js';
import { MIGRATIONS } from '../../src/coordinator/migrations.js';
import { Database } from '../../src/database.js';
import { PACKAGE_ROOT } from '../../src/util/version.js';
import { runCommand } from '../support/command.js';
import { eventually } from '../support/eventually.js';
import { FakeCoordinator } from '../support/fake-coordinator.js';
import { portOf } from '../support/port-of.js';
import { RecordedLog } from '../support/recorded-log.js';
import { RunningDaemon } from '../support/running-daemon.js';
import { sampleRegister } from '../support/sample-frames.js';
import { TemporaryHome } from '../support/temporary-home.js';
import { costly } from '../support/costly.js';

const MODEL = 'darkbloom-tiny-chat';
const BUILD = 'local/darkbloom-tiny-chat-f16';
const ANSWER = 'Hello! I am Darkbloom Tiny Chat. How can I help you today?';
const MESSAGES = [{ role: 'user', content: 'Hello, Darkbloom!' }];

describe('on the command line', () => {
  let temporary: TemporaryHome;
  let folder: string;
  beforeEach(() => {
    temporary = new TemporaryHome();
    folder = temporary.home.folder;
  });
  afterEach(() => temporary[Symbol.dispose]());

  /** Exit code and the one sentence. */
  async function refusal(...args: string[]): Promise<{ code: number | null; sentence: string }> {
    const { code, stdout, stderr } = await runCommand(args, folder);
    expect(stdout).toBe('');
    const lines = stderr.trimEnd().split('\n');
    expect(lines).toHaveLength(1);
    return { code, sentence: lines[0] ?? '' };
  }
  const start = (port = '0') => refusal('start', '--foreground', '--port', port);
  const settings = (toml: string) => writeFileSync(temporary.home.config, toml);

  test.each([
    [['sart'], "error: unknown command 'sart'\n(Did you mean start?)\n"],
    [['start', '--foregroud'], "error: unknown option '--foregroud'\n(Did you mean --foreground?)\n"],
    [['models', 'donwload', 'x'], 'error There is no command models donwload. Did you mean models download?\n'],
    [['coordinator', 'approve'], "error: missing required argument 'code'\n"],
    [
      ['start', '--port', '99999'],
      /'--port <number>' argument '99999' is invalid\. a port is a number from 0 to 65535\./u,
    ],
    [['demo', '--prompt', ''], 'error --prompt must not be empty.\n'],
  ])('%j is refused with 64', async (args, said) => {
    const { code, stdout, stderr } = await runCommand(args, folder);
    expect({ code, stdout }).toEqual({ code: 64, stdout: '' });
    if (typeof said === 'string') expect(stderr).toBe(said);
    else expect(stderr).toMatch(said);
    expect(readdirSync(folder)).toEqual([]);
  });

  test.each([
    ['[http]\nport = = 1\n', /config\.toml, line 2, column \d+: /u],
    ['[http]\n\nprot = 9000\n', /config\.toml, line 3: unknown key http\.prot\. Did you mean http\.port\?$/u],
    [
      '[log]\nlevel = "debug"\n[http]\nport = "eighty"\n',
      /line 4: http\.port: must be a whole number from 0 to 65535\.$/u,
    ],
    ['[provider]\nserve_others = "perhaps"\n', /line 2: provider\.serve_others: must be true or false\.$/u],
    ['[models.files]\n"a b" = "/x.gguf"\n', /line 2: models\.files \(a b\): a model name is letters, digits/u],
  ])('settings like %j are refused with 65, naming line and key', async (toml, said) => {
    settings(toml);
    const { code, sentence } = await refusal('start');
    expect(code).toBe(65);
    expect(sentence).toMatch(said);
    expect(readdirSync(folder)).toEqual(['config.toml']);
    expect(readFileSync(temporary.home.config, 'utf8')).toBe(toml);
  });

  costly('settings that cannot be read are refused with 65', async () => {
    mkdirSync(temporary.home.config);
    const { code, sentence } = await start();
    expect(code).toBe(65);
    expect(sentence).toMatch(/config\.toml cannot be read\. Check that it is a file you may read\./u);
  });

  costly('a wrong variable is refused with 65, naming it', async () => {
    const refused = await runCommand(['start'], folder, { DARKBLOOM_PROVIDER_HTTP_PROT: '1' });
    expect(refused.code).toBe(65);
    expect(refused.stderr).toMatch(/DARKBLOOM_PROVIDER_HTTP_PROT\. Did you mean DARKBLOOM_PROVIDER_HTTP_PORT\?/u);
  });

  costly(
    'model files that are missing, cut short or no GGUF at all are refused with 65, saying what to do',
    async () => {
      const whole = join(PACKAGE_ROOT, 'assets/darkbloom-tiny-chat.gguf');
      const missing = join(folder, 'missing.gguf');
      const short = join(folder, 'short.gguf');
      const garbage = join(folder, 'garbage.gguf');
      copyFileSync(whole, short);
      truncateSync(short, 2_000_000);
      writeFileSync(garbage, 'not a model '.repeat(1_000));
      for (const [path, why] of [
        [missing, 'there is no such file'],
        [short, 'it is cut short'],
        [garbage, 'it is not a whole GGUF file'],
      ] as const) {
        settings(`[models.files]\nmine = ${JSON.stringify(path)}\n`);
        const { code, sentence } = await start();
        expect(code).toBe(65);
        expect(sentence).toContain(`The model file ${path} cannot be used: ${why}`);
        expect(sentence).toContain('Replace the file, or take it out of [models.files]');
        expect(existsSync(temporary.home.discovery)).toBe(false);
      }
    },
  );

  costly('a port in use is refused with 65 and the next step, by the daemon and by the coordinator', async () => {
    const other = createServer().listen(0, '127.0.0.1');
    await once(other, 'listening');
    const port = String(portOf(other));
    for (const { code, sentence } of [await start(port), await refusal('coordinator', '--port', port)]) {
      expect(code).toBe(65);
      expect(sentence).toContain(`Port ${port} of 127.0.0.1 is in use by another program.`);
      expect(sentence).toContain('choose another port with --port N');
    }
    other.close();
    expect(existsSync(temporary.home.discovery)).toBe(false);
  });

  costly('a second daemon in one home is refused with 65, and the first goes on', async () => {
    await using first = await RunningDaemon.start();
    folder = first.home.folder;
    for (const args of [
      ['start', '--foreground', '--port', '0'],
      ['coordinator', '--port', '0'],
    ]) {
      const { code, sentence } = await refusal(...args);
      expect(code).toBe(65);
      expect(sentence).toContain(`already runs (process ${process.pid}, ${first.baseUrl})`);
    }
    expect((await first.call('GET', '/v1/models', { token: first.ownerKey })).status).toBe(200);
    expect(existsSync(first.home.discovery)).toBe(true);
  });

  costly('a database of a newer version is refused with 65 and left as it is', async () => {
    const path = temporary.home.database;
    const database = new Database(path, MIGRATIONS);
    database.run("INSERT INTO migrations (version, name, applied_at) VALUES (999, 'of the future', 0)");
    database.close();
    const { code, sentence } = await refusal('coordinator', '--port', '0');
    expect(code).toBe(65);
    expect(sentence).toMatch(/was written by a newer version \(schema 999, this one knows \d+\)\. Update the program/u);

    const known = Array.from({ length: 999 }, (_, index) => ({ name: String(index), sql: '' }));
    const newer = new Database(path, known); // as the newer version would open it
    expect(newer.all('SELECT name FROM migrations').map(({ name }) => name)).toEqual([
      ...MIGRATIONS.map(({ name }) => name),
      'of the future',
    ]);
    newer.close();
  });

  costly('a file that is no database is refused with 65 and left as it is', async () => {
    const text = 'not a database '.repeat(500);
    writeFileSync(temporary.home.database, text);
    const { code, sentence } = await refusal('coordinator', '--port', '0');
    expect(code).toBe(65);
    expect(sentence).toMatch(/coordinator\.db is damaged or no database at all\. Put a backup in its place/u);
    expect(readFileSync(temporary.home.database, 'utf8')).toBe(text);
  });

  costly('commands that need a running daemon say how to start one, and end with 75', async () => {
    for (const args of [['local'], ['coordinator', 'approve', '7KQH-M2XP']]) {
      const { code, sentence } = await refusal(...args);
      expect(code).toBe(75);
      expect(sentence).toMatch(/darkbloom-provider start/u);
    }
    expect(await runCommand(['local', '--json'], folder)).toEqual({ code: 1, stdout: '{}\n', stderr: '' });
  });
});

describe('over HTTP', () => {
  const CONTEXT = 256;
  /** Stands in the wrong values below: no error may repeat it. */
  const SECRET = 'xylophone';
  let running: RunningDaemon;
  let guest: { id: string; key: string };
  beforeAll(async () => {
    running = await RunningDaemon.start({ 'provider.serve_others': true, 'engine.context_tokens': CONTEXT });
    guest = await running.addAccount({ usd: 1, acceptUnattested: true });
  });
  afterAll(() => running[Symbol.asyncDispose]());

  const chat = (body: unknown, token = running.ownerKey) =>
    running.call('POST', '/v1/chat/completions', { token, body });
  const answerOf = async () => {
    const { json } = await chat({ model: MODEL, messages: MESSAGES, temperature: 0 });
    return z.object({ choices: z.tuple([z.object({ message: z.object({ content: z.string() }) })]) }).parse(json)
      .choices[0].message.content;
  };
  const ErrorBody = z.object({
    error: z.object({ type: z.string(), code: z.string(), message: z.string(), param: z.string().optional() }),
  });

  const good = { model: MODEL, messages: MESSAGES };
  const tool = { type: 'function', function: { name: SECRET } };
  const image = { type: 'image_url', image_url: { url: `data:image/png;base64,${SECRET}` } };
  const said = (content: unknown) => [{ role: 'user', content }];
  const BAD: [what: string, body: unknown, param: string | undefined, message: RegExp][] = [
    ['text that is not JSON', `{"model": "${SECRET}`, undefined, /not valid JSON \(20 characters\)/u],
    ['no body at all', '', undefined, /not valid JSON \(0 characters\)/u],
    ['a list', [SECRET], undefined, /must be a JSON object/u],
    ['null', 'null', undefined, /must be a JSON object/u],
    ['no model', { messages: MESSAGES }, 'model', /'model' is missing/u],
    ['a number as model', { ...good, model: 7 }, 'model', /'model' is missing/u],
    ['no messages', { model: MODEL }, 'messages', /'messages' is missing or empty/u],
    ['an empty list of messages', { model: MODEL, messages: [] }, 'messages', /'messages' is missing or empty/u],
    ['a text as messages', { model: MODEL, messages: SECRET }, 'messages', /'messages': must be a list; got a string of 9/u],
    ['a message that is a text', { ...good, messages: [SECRET] }, 'messages', /'messages\.0': must be an object; got a string of 9/u],
    ['an unknown role', { ...good, messages: [{ role: SECRET, content: '' }] }, 'messages', /'messages\.0\.role': must be one of system/u],
    ['content that is a number', { ...good, messages: said(5) }, 'messages', /'messages\.0\.content': must be a string or a list/u],
    ['an image', { ...good, messages: said([image]) }, 'messages', /'messages\.0\.content\.0\.type': only text parts are supported/u],
    ['two answers', { ...good, n: 2 }, 'n', /'n': only one answer/u],
    ['temperature 9', { ...good, temperature: 9 }, 'temperature', /'temperature': must be a number from 0 to 2; got a whole number/u],
    ['a word as temperature', { ...good, temperature: SECRET }, 'temperature', /must be a number from 0 to 2; got a string of 9/u],
    ['top_p below 0', { ...good, top_p: -0.5 }, 'top_p', /'top_p': must be a number from 0 to 1; got a negative number/u],
    ['max_tokens 0', { ...good, max_tokens: 0 }, 'max_tokens', /'max_tokens': must be a whole number above 0/u],
    ['max_tokens 1.5', { ...good, max_tokens: 1.5 }, 'max_tokens', /'max_tokens': must be a whole number above 0/u],
    ['five stops', { ...good, stop: ['a', 'b', 'c', 'd', SECRET] }, 'stop', /'stop': must be at most 4 strings; got a list of 5/u],
    ['an empty stop', { ...good, stop: '' }, 'stop', /'stop': must not be empty/u],
    ['500 tools', { ...good, tools: Array(500).fill(tool) }, 'tools', /'tools': must be at most 128 tools; got a list of 500/u],
    ['two tools of one name', { ...good, tools: [tool, tool] }, 'tools', /'tools\.1\.function\.name': is the name of two tools/u],
    ['a call without tools', { ...good, tool_choice: 'required' }, 'tool_choice', /cannot ask for a call without 'tools'/u],
    ['an unknown format', { ...good, response_format: { type: SECRET } }, 'response_format', /must be one of text, json_object, json_schema/u],
    ['21 probabilities', { ...good, logprobs: true, top_logprobs: 21 }, 'top_logprobs', /must be a whole number from 0 to 20/u],
    ['audio', { ...good, audio: { voice: SECRET } }, 'audio', /'audio': must be left out: only text is supported/u],
    ['an effort nobody knows', { ...good, reasoning_effort: SECRET }, 'reasoning_effort', /must be one of none, minimal/u],
  ]; // prettier-ignore

  test.each(BAD)(
    '%s is refused with 400, naming the field and never the value',
    async (_what, body, param, message) => {
      const before = running.countRows();
      for (const token of [running.ownerKey, guest.key]) {
        const refused = await chat(body, token);
        expect(refused.status).toBe(400);
        const { error } = ErrorBody.parse(refused.json);
        expect(error).toMatchObject({ type: 'invalid_request_error', code: 'invalid_request_error' });
        expect(error.param).toBe(param);
        expect(error.message).toMatch(message);
        expect(refused.text).not.toContain(SECRET);
      }
      expect(running.countRows()).toEqual(before);
    },
  );

  test.each([
    ['no messages', { model: MODEL, max_tokens: 9 }, 'messages'],
    ['an image', { ...good, messages: said([{ type: 'image', source: { data: SECRET } }]) }, 'messages'],
    ['five stop sequences', { ...good, stop_sequences: ['a', 'b', 'c', 'd', SECRET] }, 'stop_sequences'],
    ['temperature 9', { ...good, temperature: 9 }, 'temperature'],
    ['tools', { ...good, tools: [{ name: SECRET, input_schema: {} }] }, 'tools'],
  ])("in Anthropic's dialect %s is refused in its own shape", async (_what, body, param) => {
    const before = running.countRows();
    const refused = await running.call('POST', '/v1/messages', { token: running.ownerKey, body });
    expect(refused.status).toBe(400);
    const error = { type: 'invalid_request_error', code: 'invalid_request_error', param };
    expect(refused.json).toMatchObject({ type: 'error', error, request_id: refused.headers.get('request-id') });
    expect(refused.text).not.toContain(SECRET);
    expect(running.countRows()).toEqual(before);
  });

  test('a body over 16 MiB is refused with 413, announced or not', async () => {
    const body = JSON.stringify({ ...good, padding: SECRET.repeat(2_000_000) });
    const announced = await chat(body);
    const stream = new Blob([body]).stream();
    const unannounced = await fetch(`${running.baseUrl}/chat/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${running.ownerKey}`, 'content-type': 'application/json' },
      body: stream,
      duplex: 'half',
    });
    expect([announced.status, unannounced.status]).toEqual([413, 413]);
    const json: unknown = await unannounced.json();
    expect([announced.headers.get('connection'), unannounced.headers.get('connection')]).toEqual(['close', 'close']);
    for (const refused of [announced.json, json]) {
      const { error } = ErrorBody.parse(refused);
      expect(error.type).toBe('invalid_request_error');
      expect(error.message).toMatch(/the limit is 16777216/u);
    }
  });

  test('an unknown model is 404, to who pays and to the owner', async () => {
    const before = running.countRows();
    for (const token of [guest.key, running.ownerKey]) {
      const refused = await chat({ ...good, model: 'no-such-model' }, token);
      expect(refused.status).toBe(404);
      expect(refused.json).toMatchObject({
        error: { type: 'model_not_found', code: 'model_not_found', param: 'model' },
      });
    }
    expect(running.countRows()).toEqual(before);
  });

  test('without a good key the answer is 401 before anything else is looked at', async () => {
    for (const token of [undefined, 'sk-db-wrong', `${running.ownerKey}0`, '']) {
      const refused = await running.call('POST', '/v1/chat/completions', {
        ...(token === undefined ? {} : { token }),
        body: 'not JSON',
      });
      expect(refused.status).toBe(401);
      expect(refused.json).toMatchObject({ error: { type: 'authentication_error', code: 'authentication_error' } });
      expect(refused.headers.get('www-authenticate')).toBe('Bearer');
      if (token !== undefined && token !== '') expect(refused.text).not.toContain(token);
    }
  });

  test.each([
    ['/v1/chat/completions', false],
    ['/v1/chat/completions', true],
    ['/v1/messages', false],
    ['/v1/messages', true],
  ])('a prompt longer than the context is 400 with both numbers on %s, stream %j', async (path, stream) => {
    const before = running.countRows();
    const body = { model: MODEL, messages: said(`${SECRET} `.repeat(CONTEXT)), stream };
    const refused = await running.call('POST', path, { token: running.ownerKey, body });
    expect(refused.status).toBe(400);
    expect(refused.headers.get('content-type')).toBe('application/json');
    const { error } = ErrorBody.parse(refused.json);
    expect(error).toMatchObject({
      type: 'invalid_request_error',
      code: 'context_length_exceeded',
      param: 'messages',
    });
    const [, prompt, context] =
      /has (\d+) tokens and exceeds the context length of (\d+) tokens/u.exec(error.message) ?? [];
    expect(Number(prompt)).toBeGreaterThan(CONTEXT);
    expect(Number(context)).toBe(CONTEXT);
    expect(refused.text).not.toContain(SECRET);
    expect(running.countRows()).toEqual(before);
  });

  test('who pays gets the whole hold back for a prompt that did not fit', async () => {
    const balance = () => running.readLedger((ledger) => ledger.balance(guest.id).balance);
    const before = balance();
    const refused = await chat({ model: MODEL, messages: said(`${SECRET} `.repeat(CONTEXT)) }, guest.key);
    expect(refused.json).toMatchObject({ error: { code: 'context_length_exceeded' } });
    expect(balance()).toBe(before);
    expect(running.countRows()).toMatchObject({ usage: 0, open_holds: 0 });
    expect(auditBooks(running.home.database).discrepancies).toEqual([]);
  });

  test('after all of it a good request is answered', async () => {
    expect(await answerOf()).toBe(ANSWER);
    expect(running.countRows()).toMatchObject({ usage: 1, open_holds: 0 });
  });

  test('a prompt of a million characters is refused, and an answer beside it comes whole', async () => {
    const [refused, beside] = await Promise.all([
      chat({ model: MODEL, messages: said(`${SECRET} `.repeat(100_000)) }),
      answerOf(),
    ]);
    expect([refused.status, refused.json]).toMatchObject([400, { error: { code: 'context_length_exceeded' } }]);
    expect(refused.text).not.toContain(SECRET);
    expect(beside).toBe(ANSWER);
    expect(running.countRows()).toMatchObject({ open_holds: 0 });
  });
});

describe("on the wire, at the provider's end", () => {
  let coordinator: FakeCoordinator;
  let running: RunningDaemon;
  let publicKey: string;
  const log = new RecordedLog();
  beforeAll(async () => {
    coordinator = await FakeCoordinator.listen();
    running = await RunningDaemon.start({ 'coordinator.url': coordinator.url }, log.log);
    publicKey = (await coordinator.received('register')).public_key ?? '';
  });
  afterAll(async () => {
    await running[Symbol.asyncDispose]();
    await coordinator[Symbol.asyncDispose]();
  });

  async function expectGoodAnswer(): Promise<void> {
    const request = coordinator.ask(publicKey, JSON.stringify({ model: BUILD, messages: MESSAGES, temperature: 0 }));
    expect(await request.ended()).toMatchObject({ usage: { prompt_tokens: 13, completion_tokens: 21 } });
    expect(request.text).toBe(ANSWER);
    expect(coordinator.connections).toBe(1);
  }

  test.each([
    ['this is not JSON', 'not JSON (16 characters)'],
    ['[1, 2]', 'no type'],
    ['{"type": "dance", "secret": "xylophone"}', 'unknown type dance'],
    ['{"type": "cancel"}', 'cancel.request_id'],
    ['{"type": "inference_request", "request_id": 5}', 'inference_request.request_id'],
  ])('the frame %j is reported, and the connection kept', async (frame, reason) => {
    coordinator.sendText(frame);
    await expectGoodAnswer();
    expect(log.text).toContain(`"reason":"${reason}`);
    expect(log.text).not.toContain('xylophone');
  });

  const box = { ephemeral_public_key: Buffer.alloc(32, 9).toString('base64'), ciphertext: 'AAAA' };
  const sealed = (change: Partial<typeof box>) => ({ encrypted_body: { ...box, ...change } });
  test.each([
    ['without a sealed body', {}, 'coordinator text request missing encrypted body'],
    [
      'with a key of the wrong length',
      sealed({ ephemeral_public_key: 'AAAA' }),
      'missing or malformed ephemeral_public_key',
    ],
    [
      'with a key that is no base64',
      sealed({ ephemeral_public_key: '§' }),
      'missing or malformed ephemeral_public_key',
    ],
    ['with a box that is too short', sealed({}), 'decryption failed'],
    ['with a box that does not open', sealed({ ciphertext: Buffer.alloc(99).toString('base64') }), 'decryption failed'],
    ['with a box that is no base64', sealed({ ciphertext: '!!!' }), 'decryption failed'],
  ])('a request %s is refused with 400 in the words of the protocol', async (_what, body, error) => {
    const request_id = 'the-bad-one';
    coordinator.sendText(JSON.stringify({ type: 'inference_request', request_id, ...body }));
    const refused = await coordinator.received('inference_error');
    expect(refused).toEqual({ type: 'inference_error', request_id, error, status_code: 400 });
    await expectGoodAnswer();
  });

  test.each([
    ['no JSON', 'xylophone', 'invalid request body', 400],
    ['a JSON list', '["xylophone"]', 'invalid request body', 400],
    ['no messages', `{"model": "${BUILD}"}`, /'messages': must be a list/u, 400],
    ['an unknown model', JSON.stringify({ model: 'nope', messages: MESSAGES }), /no model named 'nope'/u, 404],
    [
      'another operation',
      JSON.stringify({ model: BUILD, prompt: 'xylophone', endpoint: '/v1/completions' }),
      /chat/u,
      501,
    ],
  ])('a sealed body that is %s is refused', async (_what, plaintext, error, status_code) => {
    const request = coordinator.ask(publicKey, plaintext);
    const refused = await request.ended();
    expect(refused).toMatchObject({ type: 'inference_error', status_code });
    if ('error' in refused) expect(refused.error).toMatch(error);
    expect(request.accepted).toBe(false);
    expect(JSON.stringify(refused)).not.toContain('xylophone');
    expect(log.text).not.toContain('xylophone');
    await expectGoodAnswer();
  });

  test('a prompt that cannot fit is refused in words that the hosted coordinator understands', async () => {
    const messages = [{ role: 'user', content: 'xylophone '.repeat(5_000) }];
    const refused = await coordinator.ask(publicKey, JSON.stringify({ model: BUILD, messages })).ended();
    expect(refused).toMatchObject({ status_code: 400, error_reason: 'request_exceeds_context' });
    expect(JSON.stringify(refused)).toMatch(/context length/u);
    await expectGoodAnswer();
  });
});

describe("on the wire, at the coordinator's end", () => {
  let running: RunningDaemon;
  const log = new RecordedLog();
  beforeAll(async () => {
    running = await RunningDaemon.start({}, log.log);
  });
  afterAll(() => running[Symbol.asyncDispose]());

  const register = (publicKey: string) => JSON.stringify(sampleRegister({ build: BUILD, publicKey }));

  test.each([
    ['text that is not JSON', 'this is not JSON', 'not JSON (16 characters)'],
    ['an unknown type', '{"type": "dance", "secret": "xylophone"}', 'unknown type dance'],
    [
      'a frame before the register',
      '{"type": "inference_accepted", "request_id": "x"}',
      'inference_accepted before register',
    ],
    ['a register without hardware', '{"type": "register", "models": [], "backend": "x"}', 'register.hardware'],
    ['a register with a broken key', register('AAAA'), 'cannot be sealed to'],
  ])('%s is reported, the connection kept, and requests go their way', async (_what, frame, reported) => {
    const socket = new WebSocket(`${running.url.replace('http', 'ws')}/ws/provider`);
    await once(socket, 'open');
    socket.send(frame);
    await eventually(`the log says ${reported}`, () => (log.text.includes(reported) ? true : undefined));
    expect(log.text).not.toContain('xylophone');

    const body = { model: MODEL, messages: MESSAGES, temperature: 0 };
    const answer = await running.call('POST', '/v1/chat/completions', { token: running.ownerKey, body });
    expect(answer.text).toContain(ANSWER);
    socket.ping();
    await once(socket, 'pong');
    socket.terminate();
  });

  test('a frame larger than the limit ends its own connection and nothing else', async () => {
    const socket = new WebSocket(`${running.url.replace('http', 'ws')}/ws/provider`);
    await once(socket, 'open');
    socket.send('x'.repeat(10 * 1024 * 1024 + 1));
    expect((await once(socket, 'close'))[0]).toBe(1009);
    expect((await running.call('GET', '/health')).json).toMatchObject({ status: 'ok', providers: 1 });
  });

  test.each(['/nope', '//', 'http://[', '/ws/provider/more'])(
    'an upgrade of %s by one who hangs up at once is refused, and the coordinator lives',
    async (target) => {
      const { port } = running.daemon.record;
      const socket = connect(port, '127.0.0.1');
      const upgrade = `GET ${target} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n`;
      socket.on('error', () => undefined);
      socket.write(upgrade, () => socket.resetAndDestroy());
      await once(socket, 'close');
      const patient = connect(port, '127.0.0.1');
      patient.write(upgrade);
      let answer = '';
      for await (const chunk of patient.setEncoding('utf8')) answer += String(chunk);
      expect(answer).toMatch(/^HTTP\/1\.1 404 Not Found/u);
      expect((await running.call('GET', '/health')).status).toBe(200);
    },
  );
});
