import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Heartbeat } from '../../src/protocol/provider-messages.js';
import { FakeCoordinator } from '../support/fake-coordinator.js';
import { madeModel } from '../support/made-models.js';
import { LINK_TOKEN, RunningDaemon } from '../support/running-daemon.js';

const BUILD = 'local/darkbloom-tiny-chat-f16';
const LOOP = 'local/loop-f16';
const SLOTS = 2;
/** Room for an endless answer to go on until it is cancelled, also on a fast machine. */
const CONTEXT = 65_536;
const MESSAGES = [{ role: 'user', content: 'Hello, Darkbloom!' }];

/** A provider at a coordinator that can misbehave. */
let coordinator: FakeCoordinator;
let running: RunningDaemon;
let first: Awaited<ReturnType<typeof registered>>;
let publicKey: string;
const registered = () => coordinator.received('register');
const ask = (body: object) =>
  coordinator.ask(publicKey, JSON.stringify({ messages: MESSAGES, temperature: 0, ...body }));

beforeAll(async () => {
  coordinator = await FakeCoordinator.listen();
  running = await RunningDaemon.start({
    'coordinator.url': coordinator.url,
    'engine.slots': SLOTS,
    'engine.context_tokens': CONTEXT,
    'models.files': {
      loop: madeModel('long-loop', ['--loop', '--say', 'One two three four.', '--ctx', String(CONTEXT)]),
    },
  });
  first = await registered();
  publicKey = first.public_key ?? '';
});
afterAll(async () => {
  await running[Symbol.asyncDispose]();
  await coordinator[Symbol.asyncDispose]();
});

test('the first frame says who the provider is and what it can do', () => {
  expect(first).toMatchObject({
    backend: 'llama.cpp',
    auth_token: LINK_TOKEN,
    private_only: true,
    encrypted_response_chunks: true,
    models: [
      { id: BUILD, model_type: 'text', quantization: 'F16', template_render_ok: true },
      { id: LOOP, model_type: 'text', quantization: 'F16', template_render_ok: true },
    ],
  });
  expect(first.models[0]?.weight_hash).toMatch(/^[0-9a-f]{64}$/u);
  expect(first.models[1]).not.toHaveProperty('weight_hash'); // nobody pinned a hash of the owner's own file
  expect(Buffer.from(publicKey, 'base64')).toHaveLength(32);
});

test('a challenge is answered with its nonce, the registered key and a P-256 signature', async () => {
  for (const nonce of ['bm9uY2U=', 'YW5vdGhlcg==']) {
    coordinator.send({ type: 'attestation_challenge', nonce, timestamp: '2026-01-01T00:00:00Z' });
    const answer = await coordinator.received('attestation_response');
    expect(answer).toMatchObject({ nonce, public_key: publicKey, sip_enabled: process.platform === 'darwin' });
    expect(answer.model_hashes).toEqual({ [BUILD]: first.models[0]?.weight_hash });
    for (const number of signatureOf(answer.signature)) expect(number > 0n && number < P256_ORDER).toBe(true);
  }
});

const P256_ORDER = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;

/** The two numbers of a DER ECDSA signature. The key that made it never leaves the provider. */
function signatureOf(base64: string): bigint[] {
  const der = Buffer.from(base64, 'base64');
  const rLength = der.readUInt8(3);
  const sLength = der.readUInt8(5 + rLength);
  expect(der).toHaveLength(6 + rLength + sLength);
  const numbers = [der.subarray(4, 4 + rLength), der.subarray(6 + rLength)];
  return numbers.map((bytes) => BigInt(`0x${bytes.toString('hex')}`));
}

test('the heartbeat tells what runs and how much room there is', async () => {
  const request = ask({ model: LOOP });
  await request.untilText();
  const beat = await coordinator.next(
    (frame): frame is Heartbeat => frame.type === 'heartbeat' && frame.status === 'serving',
  );
  expect(beat).toMatchObject({ active_model: LOOP, warm_models: [LOOP] });
  expect(beat.backend_capacity?.slots).toEqual([
    expect.objectContaining({ model: LOOP, state: 'running', num_running: 1, num_waiting: 0, max_concurrency: SLOTS }),
  ]);
  expect(beat.backend_capacity?.slots[0]?.active_tokens).toBeGreaterThan(0);
  expect(beat.system_metrics?.cpu_usage).toBeGreaterThanOrEqual(0);
  coordinator.send({ type: 'cancel', request_id: request.id });
  await request.ended();
});

test('a cancelled request ends with the true number of its tokens', async () => {
  const request = ask({ model: LOOP });
  await request.untilText();
  coordinator.send({ type: 'cancel', request_id: request.id });
  const last = await request.ended();
  if (last.type !== 'inference_complete') throw new Error(last.error);
  const { completion_tokens: written } = last.usage;
  expect(written).toBeGreaterThan(0);

  const again = ask({ model: LOOP, max_tokens: written });
  expect(await again.ended()).toMatchObject({ usage: last.usage });
  expect(again.text).toBe(request.text);
});

test('a request cancelled before its first text ends with an error, and the next one is answered', async () => {
  const request = ask({ model: BUILD }); // its model must be loaded first
  coordinator.send({ type: 'cancel', request_id: request.id });
  expect(await request.ended()).toMatchObject({ type: 'inference_error', status_code: 499, error_reason: 'cancelled' });
  expect(await ask({ model: BUILD }).ended()).toMatchObject({ type: 'inference_complete' });
});

test('an order to load a model that is there is done at once, one of a model that is not is refused', async () => {
  const status = () => coordinator.received('load_model_status');
  coordinator.send({ type: 'load_model', model_id: BUILD });
  expect(await status()).toMatchObject({ status: 'succeeded' });
  coordinator.send({ type: 'load_model', model_id: 'nope' });
  expect([await status(), await status()].map((report) => report.status)).toEqual(['started', 'failed']);
});

test('after the link is lost the provider stops what ran, and registers again with the same key', async () => {
  await ask({ model: LOOP }).untilText();
  coordinator.dropConnection();
  expect(await registered()).toEqual(first);
  expect(coordinator.connections).toBe(2);
  const after = ask({ model: BUILD });
  expect(await after.ended()).toMatchObject({ usage: { prompt_tokens: 13, completion_tokens: 21 } });
  expect(running.daemon.requestsRunning).toBe(0);
});
