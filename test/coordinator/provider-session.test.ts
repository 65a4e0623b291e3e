import { describe, expect, test, vi } from 'vitest';
import { isLoading, isWarm } from '../../src/coordinator/machine.js';
import type { Attempt, AttemptEvent } from '../../src/coordinator/attempts.js';
import { Channel, newKeyPair, toBase64 } from '../../src/crypto/box.js';
import { DarkbloomError, type ErrorCode } from '../../src/errors.js';
import { CHUNK_BUFFER } from '../../src/protocol/limits.js';
import type { Register } from '../../src/protocol/provider-messages.js';
import { ManualClock } from '../support/manual-clock.js';
import { BUILD, ScriptedProvider, type PlayedRequest } from './scripted-provider.js';

function play(register: Partial<Register> = {}) {
  const clock = new ManualClock();
  const changed = vi.fn();
  const provider = new ScriptedProvider({ clock, changed, accountId: 'acct_me', register });
  return { clock, changed, provider, session: provider.session };
}

/** With a request under way. */
async function playRequest() {
  const stage = play();
  const attempt = stage.session.start(BUILD, { model: BUILD, messages: [] });
  return { ...stage, attempt, request: await stage.provider.request() };
}

/** All events of an attempt, and the error it ended with. */
async function outcome({ events }: Attempt): Promise<{ events: AttemptEvent[]; error?: DarkbloomError }> {
  const seen: AttemptEvent[] = [];
  try {
    for await (const event of events) seen.push(event);
    return { events: seen };
  } catch (error) {
    if (error instanceof DarkbloomError) return { events: seen, error };
    throw error;
  }
}

const text = (content: string): AttemptEvent => ({
  type: 'chunk',
  content: {
    events: content === '' ? [] : [{ type: 'text', text: content }],
    finishReason: undefined,
    promptTokens: undefined,
    cachedTokens: undefined,
    reasoningTokens: undefined,
  },
});

describe('what routing sees of a machine', () => {
  test('follows from how it registered', () => {
    const { session } = play({ private_only: true });
    expect(session.machine).toMatchObject({
      id: session.id,
      accountId: 'acct_me',
      privateOnly: true,
      encrypted: true,
      draining: false,
      challengedAt: undefined,
      capacity: undefined,
    });
    expect(play().session.machine.privateOnly).toBe(false);
  });

  test.each<[string, Partial<Register>]>([
    ['has no key', { public_key: undefined }],
    ['has a key of the wrong length', { public_key: 'AAAA' }],
    ['has a key that no pair has', { public_key: Buffer.alloc(32).toString('base64') }],
    ['does not seal its answers', { encrypted_response_chunks: false }],
    ['does not say that it seals its answers', { encrypted_response_chunks: undefined }],
  ])('of one that %s is that it cannot be sealed to', (_, register) => {
    expect(play(register).session.machine.encrypted).toBe(false);
  });

  test('is merged from updates of its models', () => {
    const { session, provider, changed } = play();
    const told = { size_bytes: 1, model_type: 'text', quantization: 'F16' };
    provider.say({
      type: 'models_update',
      models: [
        { id: 'local/more', ...told },
        { id: BUILD, ...told, template_render_ok: false },
      ],
    });
    expect([...session.machine.models.keys()]).toEqual([BUILD, 'local/more']);
    expect(session.machine.models.get(BUILD)?.template_render_ok).toBe(false);
    expect(changed).toHaveBeenCalledTimes(1);
  });

  test('has an end: of a thousand models more than that, those that come later are left out', () => {
    const { session, provider } = play();
    const told = { size_bytes: 1, model_type: 'text', quantization: 'F16' };
    const models = Array.from({ length: 1_500 }, (_, index) => ({ id: `local/${index}`, ...told }));
    provider.say({ type: 'models_update', models });
    provider.say({ type: 'models_update', models: [{ id: BUILD, ...told, template_render_ok: false }] });
    expect(session.machine.models.size).toBe(1_000);
    expect(session.machine.models.get(BUILD)?.template_render_ok).toBe(false);
  });

  test('is not changed by a second register, nor by what is said of loading', () => {
    const { session, provider } = play();
    const before = session.machine;
    provider.say({
      ...session.register,
      public_key: new ScriptedProvider({ clock: new ManualClock() }).identity.publicKey,
      models: [],
      private_only: true,
    });
    provider.say({ type: 'load_model_status', model_id: BUILD, status: 'failed', error: 'broken' });
    provider.say({ type: 'prefetch_model_status', model_id: BUILD, status: 'failed' });
    expect(session.machine).toEqual(before);
    expect(session.register.public_key).toBe(provider.identity.publicKey);
  });
});

describe('a heartbeat', () => {
  test('takes over what was reserved for requests since the one before, and what was refused as full', async () => {
    const { session, provider } = play();
    const started = session.start(BUILD, {}, 100);
    session.start(BUILD, {}, 20);
    expect(session.machine.reserved.get(BUILD)).toBe(120);
    session.abandon(started.requestId);
    expect(session.machine.reserved.get(BUILD)).toBe(20);
    await provider.request();
    (await provider.request()).fail(429, 'queue full', 'queue_full');
    expect([...session.machine.full]).toEqual([BUILD]);
    provider.beat();
    expect([session.machine.reserved.size, session.machine.full.size]).toEqual([0, 0]);
  });

  test('that said of a model that it is being loaded is outdated by the first word, for those who wait too', async () => {
    const { session, provider, changed } = play();
    provider.beat({ state: 'reloading' });
    session.start(BUILD, {});
    const request = await provider.request();
    request.begin(3);
    expect([isLoading(session.machine, BUILD), isWarm(session.machine, BUILD)]).toEqual([true, false]);
    changed.mockClear();
    request.write('One');
    expect([isLoading(session.machine, BUILD), isWarm(session.machine, BUILD)]).toEqual([false, true]);
    request.write(' two');
    expect(changed).toHaveBeenCalledTimes(1);
    provider.beat({ state: 'reloading' });
    expect(isLoading(session.machine, BUILD)).toBe(true);
  });

  test('tells of the load, and of a machine that wants no new request', () => {
    const { session, provider, changed } = play();
    provider.beat({ rows: 2, running: 2, waiting: 1 });
    expect(session.machine).toMatchObject({
      draining: false,
      metrics: { thermal_state: 'nominal' },
      capacity: { slots: [{ model: BUILD, max_concurrency: 2 }] },
      foreign: new Map([[BUILD, 3]]),
    });
    provider.beat({ status: 'draining' });
    expect(session.machine.draining).toBe(true);
    provider.beat({ status: 'serving' });
    expect(session.machine.draining).toBe(false);
    expect(changed).toHaveBeenCalledTimes(3);
  });

  test('counts as foreign only what is not ours, and never less than nothing', async () => {
    const { session, provider } = await playRequest();
    provider.beat({ running: 2, waiting: 1 });
    expect(session.machine.foreign).toEqual(new Map([[BUILD, 2]]));
    provider.beat({ running: 0 });
    expect(session.machine.foreign).toEqual(new Map([[BUILD, 0]]));
    expect(session.machine.assigned).toEqual(new Map([[BUILD, 1]]));
  });

  test('and every other frame is noted as heard', () => {
    const { clock, session, provider } = play();
    clock.turn(7_000);
    provider.beat();
    expect(session.heardAt).toBe(clock.now());
  });
});

describe('a challenge', () => {
  test('has a nonce of 32 random bytes and the time, and is passed with a good answer', () => {
    const { clock, session, provider, changed } = play();
    clock.turn(5_000);
    provider.passChallenge();
    provider.passChallenge();
    const [first, second] = provider.sentOf('attestation_challenge');
    expect(Buffer.from(first?.nonce ?? '', 'base64')).toHaveLength(32);
    expect(second?.nonce).not.toBe(first?.nonce);
    expect(first?.timestamp).toBe(new Date(clock.now()).toISOString());
    expect(session.machine.challengedAt).toBe(clock.now());
    expect(changed).toHaveBeenCalledTimes(2);
    expect(clock.pending).toBe(0);
  });

  test('asks nobody to say what is not true: a machine without any protection passes', () => {
    const { session, provider, clock } = play();
    provider.passChallenge({ sip_enabled: false, secure_boot_enabled: false, rdma_disabled: false });
    expect(session.machine.challengedAt).toBe(clock.now());
  });

  test('is answered once: the same answer again counts for nothing', () => {
    const { session, provider, clock } = play();
    provider.passChallenge();
    const passedAt = clock.now();
    clock.turn(60_000);
    const nonce = provider.sentOf('attestation_challenge')[0]?.nonce ?? '';
    const { publicKey } = provider.identity;
    provider.say({ type: 'attestation_response', nonce, signature: 'x', public_key: publicKey });
    expect(session.machine.challengedAt).toBe(passedAt);
  });

  test.each([
    ['another key', { public_key: 'a2V5' }],
    ['another nonce', { nonce: 'bm90IHRoZSBub25jZQ==' }],
    ['no signature', { signature: '' }],
  ])('that was answered with %s takes back what was passed before', (_, changes) => {
    const { session, provider, changed } = play();
    provider.passChallenge();
    provider.passChallenge(changes);
    expect(session.machine.challengedAt).toBeUndefined();
    expect(changed).toHaveBeenCalledTimes(2);
  });

  test('is over after 30 seconds: a late answer counts for nothing, and what was passed before ages on', () => {
    const { session, provider, clock } = play();
    provider.passChallenge();
    const passedAt = clock.now();
    session.challenge();
    clock.turn(30_000);
    const nonce = provider.sentOf('attestation_challenge')[1]?.nonce ?? '';
    const { publicKey } = provider.identity;
    provider.say({ type: 'attestation_response', nonce, signature: 'x', public_key: publicKey });
    expect(session.machine.challengedAt).toBe(passedAt);
  });

  test('replaces the one that is still open, whose answer comes too late then', () => {
    const { session, provider, clock } = play();
    session.challenge();
    clock.turn(29_999);
    session.challenge();
    expect(clock.pending).toBe(1);
    clock.turn(29_999);
    const [first, second] = provider.sentOf('attestation_challenge').map(({ nonce }) => nonce);
    const { publicKey } = provider.identity;
    provider.say({ type: 'attestation_response', nonce: first ?? '', signature: 'x', public_key: publicKey });
    expect(session.machine.challengedAt).toBeUndefined();
    provider.say({ type: 'attestation_response', nonce: second ?? '', signature: 'x', public_key: publicKey });
    expect(session.machine.challengedAt).toBe(clock.now());
  });

  test('that was answered wrongly three times in a row costs the machine its trust, until it connects anew', () => {
    const { session, provider } = play();
    const wrong = () => provider.passChallenge({ public_key: 'a2V5' });
    wrong();
    wrong();
    provider.passChallenge();
    wrong();
    wrong();
    expect([session.machine.mistrust, provider.sentOf('trust_status')]).toEqual([undefined, []]);
    wrong();
    const reason = '3 answers in a row to its challenges were wrong';
    expect(session.machine.mistrust).toBe(reason);
    provider.passChallenge();
    expect(session.machine.mistrust).toBe(reason);
    expect(provider.sentOf('trust_status')).toEqual([
      { type: 'trust_status', trust_level: 'none', status: 'untrusted', reason },
    ]);
  });

  test('that was not answered three times in a row costs the trust until one is; six times, the connection', () => {
    const { session, provider, clock } = play();
    const silence = (times: number) => {
      for (let time = 0; time < times; time++) {
        session.challenge();
        clock.turn(30_000);
      }
    };
    silence(2);
    expect(session.machine.mistrust).toBeUndefined();
    silence(1);
    const reason = '3 challenges in a row were not answered';
    expect(session.machine.mistrust).toBe(reason);
    silence(2);
    provider.passChallenge();
    expect(session.machine.mistrust).toBeUndefined();
    expect(provider.sentOf('trust_status')).toEqual([
      { type: 'trust_status', trust_level: 'none', status: 'untrusted', reason },
      { type: 'trust_status', trust_level: 'none', status: 'online' },
    ]);
    silence(5);
    expect(provider.hungUp).toEqual([]);
    silence(1);
    expect(provider.hungUp).toEqual(['attestation unresponsive — reconnect required']);
  });
});

describe('a request', () => {
  test('is sealed to the machine under an id and a key of its own', async () => {
    const { provider, session } = play();
    const body = { model: BUILD, messages: [{ role: 'user', content: 'a secret question' }] };
    const [first, second] = [session.start(BUILD, body), session.start(BUILD, body)];
    const [one, two] = [await provider.request(), await provider.request()];
    expect([one.id, two.id]).toEqual([first.requestId, second.requestId]);
    expect([one.body, two.body]).toEqual([body, body]);
    expect(one.id).not.toBe(two.id);
    expect(one.sealed.ephemeral_public_key).not.toBe(two.sealed.ephemeral_public_key);
    expect(JSON.stringify(provider.sent)).not.toContain('secret');
    expect([session.running, session.machine.assigned]).toEqual([2, new Map([[BUILD, 2]])]);
  });

  test('is answered by what was written, in order, to the end', async () => {
    const { attempt, request, session, changed } = await playRequest();
    request.accept();
    request.begin(11);
    request.write('Hel');
    request.write('lo');
    request.finish('length');
    changed.mockClear();
    request.complete({ prompt_tokens: 11, completion_tokens: 2 }, 'END');
    expect(await outcome(attempt)).toEqual({
      events: [
        { type: 'accepted' },
        { type: 'chunk', content: { events: [], finishReason: undefined, promptTokens: 11 } },
        text('Hel'),
        text('lo'),
        {
          type: 'chunk',
          content: { events: [], finishReason: 'length', promptTokens: undefined },
        },
        { type: 'complete', usage: { prompt_tokens: 11, completion_tokens: 2 }, stopSequence: 'END' },
      ],
    });
    expect([session.running, session.machine.assigned.size]).toEqual([0, 0]);
    expect(changed).toHaveBeenCalled();
  });

  test('shows a chunk that was copied on its way once, and the machine keeps its trust', async () => {
    const { attempt, request, session } = await playRequest();
    const sealed = request.seal('data: {"choices":[{"delta":{"content":"Hel"}}]}');
    request.chunk({ encrypted_data: sealed });
    request.chunk({ encrypted_data: sealed });
    request.write('Hel');
    request.complete({ prompt_tokens: 1, completion_tokens: 2 });
    const { events } = await outcome(attempt);
    expect(events.filter(({ type }) => type === 'chunk')).toEqual([text('Hel'), text('Hel')]);
    expect(session.machine.mistrust).toBeUndefined();
  });

  test('shows nothing of what is sealed but is no chunk', async () => {
    const { attempt, request } = await playRequest();
    for (const event of ['data: [DONE]', ': a comment', 'data: {broken']) {
      request.chunk({ encrypted_data: request.seal(event) });
    }
    request.complete({ prompt_tokens: 1, completion_tokens: 0 });
    expect((await outcome(attempt)).events).toEqual([
      { type: 'complete', usage: { prompt_tokens: 1, completion_tokens: 0 }, stopSequence: null },
    ]);
  });

  test('has one end: what comes after it is not heard', async () => {
    const { attempt, request, provider } = await playRequest();
    request.complete({ prompt_tokens: 1, completion_tokens: 1 });
    request.fail(500);
    request.complete({ prompt_tokens: 9, completion_tokens: 9 });
    request.accept();
    expect((await outcome(attempt)).events).toHaveLength(1);
    expect(provider.cancelled).toEqual([]);
  });

  test('that nobody waits for any more is cancelled, once', async () => {
    const { attempt, session, provider } = await playRequest();
    session.abandon(attempt.requestId);
    session.abandon(attempt.requestId);
    expect(provider.cancelled).toEqual([attempt.requestId]);
    expect(session.running).toBe(0);
  });

  test('whose reader is too slow fails and is cancelled; what was waiting is still read', async () => {
    const { attempt, request, provider, session } = await playRequest();
    for (let chunk = 0; chunk < CHUNK_BUFFER; chunk++) request.write('x');
    expect([provider.cancelled, session.running]).toEqual([[], 1]);
    request.write('one too many');
    expect(provider.cancelled).toEqual([attempt.requestId]);
    expect(session.running).toBe(0);
    const { events, error } = await outcome(attempt);
    expect(events).toHaveLength(CHUNK_BUFFER);
    expect(error).toMatchObject({ code: 'timeout', status: 504 });
  });

  test('fails with 502 when the machine goes', async () => {
    const { attempt, session, request, clock } = await playRequest();
    const other = session.start(BUILD, {});
    request.write('half an answ');
    session.challenge();
    session.disconnected();
    for (const each of [attempt, other]) {
      expect((await outcome(each)).error).toMatchObject({ code: 'provider_error', status: 502 });
    }
    expect([session.running, clock.pending]).toEqual([0, 0]);
  });
});

test.each<[string, (request: PlayedRequest, provider: ScriptedProvider) => void]>([
  ['in clear', (request) => request.chunk({ data: 'data: {}' })],
  ['in clear beside a sealed one', (request) => request.chunk({ encrypted_data: request.seal('data: {}'), data: 'x' })],
  ['with nothing in it', (request) => request.chunk({})],
  [
    'that names another key than it was sealed with',
    (request) => {
      const ephemeral_public_key = toBase64(newKeyPair().publicKey);
      request.chunk({ encrypted_data: { ...request.seal('data: {}'), ephemeral_public_key } });
    },
  ],
  [
    'of another key',
    (request, { identity }) => {
      const pair = newKeyPair();
      request.chunk({ encrypted_data: new Channel(pair, identity.box.publicKey).seal('data: {}') });
    },
  ],
  [
    'that does not open',
    (request, { identity }) => {
      const { ciphertext } = new Channel(identity.box, newKeyPair().publicKey).seal('data: {}');
      request.chunk({ encrypted_data: { ephemeral_public_key: identity.publicKey, ciphertext } });
    },
  ],
  [
    'that was changed on its way',
    (request) => {
      const sealed = request.seal('data: {}');
      const bytes = Buffer.from(sealed.ciphertext, 'base64');
      bytes.writeUInt8(bytes.readUInt8(30) ^ 1, 30);
      request.chunk({ encrypted_data: { ...sealed, ciphertext: bytes.toString('base64') } });
    },
  ],
])('a chunk %s fails the request with 502 and costs the machine its trust', async (_, misbehave) => {
  const { attempt, request, provider, session, changed } = await playRequest();
  request.write('well sealed');
  changed.mockClear();
  misbehave(request, provider);
  const { events, error } = await outcome(attempt);
  expect(events).toEqual([text('well sealed')]);
  expect(error).toMatchObject({ code: 'provider_error', status: 502 });
  expect(provider.sentOf('trust_status')).toEqual([
    { type: 'trust_status', trust_level: 'none', status: 'untrusted', reason: expect.any(String) as string },
  ]);
  expect(session.machine.mistrust).toBe('an answer was not sealed as promised');
  expect(changed).toHaveBeenCalled();

  provider.passChallenge();
  provider.beat();
  expect(session.machine.mistrust).toBe('an answer was not sealed as promised');
});

describe('a chunk that nobody waits for', () => {
  test('is answered with cancel, for each request at most every 10 seconds', async () => {
    const { clock, provider, request } = await playRequest();
    request.complete({ prompt_tokens: 1, completion_tokens: 1 });
    request.write('late');
    request.write('later');
    clock.turn(9_999);
    request.write('later still');
    expect(provider.cancelled).toEqual([request.id]);
    provider.say({ type: 'inference_response_chunk', request_id: 'never heard of', data: 'x' });
    expect(provider.cancelled).toEqual([request.id, 'never heard of']);
    clock.turn(1);
    request.write('again');
    expect(provider.cancelled).toEqual([request.id, 'never heard of', request.id]);
  });

  test('costs no trust, whatever is in it', async () => {
    const { provider, session } = await playRequest();
    provider.say({ type: 'inference_response_chunk', request_id: 'never heard of', data: 'in clear' });
    expect(session.machine.mistrust).toBeUndefined();
  });

  test('of very many requests is answered all the same', () => {
    const { provider } = play();
    for (let stray = 0; stray < 2_500; stray++) {
      provider.say({ type: 'inference_response_chunk', request_id: `stray-${stray}` });
    }
    expect(new Set(provider.cancelled).size).toBe(2_500);
  });
});

test.each<{ status: number; reason?: string; error?: string; code: ErrorCode; told: number; retryAfterS?: number }>([
  { status: 400, reason: 'request_exceeds_context', code: 'context_length_exceeded', told: 400 },
  { status: 503, error: 'prompt exceeds Context Length 2048', code: 'context_length_exceeded', told: 400 },
  { status: 400, error: 'over the context window', code: 'context_length_exceeded', told: 400 },
  { status: 503, reason: 'draining', code: 'draining', told: 503, retryAfterS: 3 },
  { status: 503, reason: 'model_load', code: 'model_unavailable', told: 503, retryAfterS: 5 },
  { status: 499, reason: 'cancelled', code: 'cancelled', told: 499 },
  { status: 429, reason: 'queue_full', code: 'over_capacity', told: 429, retryAfterS: 2 },
  { status: 400, error: 'decryption failed', code: 'invalid_request', told: 400 },
  { status: 404, code: 'model_not_loaded', told: 503, retryAfterS: 15 },
  { status: 422, code: 'unprocessable', told: 422 },
  { status: 500, code: 'provider_error', told: 500 },
  { status: 501, code: 'provider_error', told: 501 },
  { status: 503, code: 'provider_error', told: 503, retryAfterS: 2 },
  { status: 0, code: 'provider_error', told: 502 },
  { status: 200, code: 'provider_error', told: 502 },
  { status: 600, code: 'provider_error', told: 502 },
])('an error with the status $status and the reason $reason is told as $code', async (told) => {
  const { attempt, request } = await playRequest();
  request.fail(told.status, told.error ?? 'in the words of the machine', told.reason);
  expect((await outcome(attempt)).error).toMatchObject({
    code: told.code,
    status: told.told,
    retryAfterS: told.retryAfterS,
    message: told.error ?? 'in the words of the machine',
  });
});

test.each<[string, string, number, number]>([
  ['a full line', 'queue_full', 12_000, 12],
  ['memory that is not free yet', 'model_load', 40_001, 41],
  ['no time at all', 'queue_full', 0, 1],
  ['a time beyond reason', 'queue_full', 1e12, 600],
])("a machine's own forecast is passed on as whole seconds: %s", async (_, reason, feasibleAfterMs, seconds) => {
  const { attempt, request } = await playRequest();
  request.fail(reason === 'queue_full' ? 429 : 503, 'later', reason, feasibleAfterMs);
  expect((await outcome(attempt)).error).toMatchObject({ retryAfterS: seconds });
});
