import { describe, expect, test } from 'vitest';
import { Channel, newKeyPair, toBase64, type KeyPair } from '../../src/crypto/box.js';
import { Identity } from '../../src/crypto/identity.js';
import { DarkbloomError, type ErrorCode } from '../../src/errors.js';
import { readChunk, textIn } from '../../src/inference/chunk-reader.js';
import { readResult } from '../../src/inference/operations.js';
import { Jobs } from '../../src/link/jobs.js';
import type { InferenceRequest } from '../../src/protocol/coordinator-messages.js';
import { ManualClock } from '../support/manual-clock.js';
import { RecordedLog } from '../support/recorded-log.js';
import { ScriptedGenerator } from '../support/scripted-generators.js';
import { RecordedConnection } from './recorded-connection.js';

const ID = 'request-1';
const QUESTION = 'a secret question';
const BODY = { model: 'local/tiny', messages: [{ role: 'user', content: QUESTION }], darkbloom: { owner: true } };

/** A provider's jobs, and a coordinator that seals to it and opens what comes back. */
function play(generator = new ScriptedGenerator({ says: ['Hel', 'lo'] }), refuse: () => void = () => undefined) {
  const identity = new Identity();
  const pair: KeyPair = newKeyPair();
  const channel = new Channel(pair, identity.box.publicKey);
  const log = new RecordedLog();
  const connection = new RecordedConnection();
  const jobs = new Jobs({ generator, identity, refuse, clock: new ManualClock(), log: log.log });
  const seal = (text: string, request_id = ID): InferenceRequest => ({
    type: 'inference_request',
    request_id,
    encrypted_body: channel.seal(text),
  });
  return {
    generator,
    identity,
    channel,
    log,
    connection,
    jobs,
    seal,
    start: (id = ID, body: object = BODY) => jobs.start(seal(JSON.stringify(body), id), connection),
    /** The opened chunks of a request. */
    chunks: (id = ID) =>
      connection
        .framesOf('inference_response_chunk')
        .filter(({ request_id }) => request_id === id)
        .map(({ encrypted_data }) => channel.open(encrypted_data?.ciphertext ?? '')),
  };
}

describe('a job', () => {
  test('is accepted, answered in sealed chunks, and completed with the true counts', async () => {
    const { jobs, start, connection, chunks, generator } = play();
    start();
    await jobs.settled();
    expect(connection.types).toEqual([
      'inference_accepted',
      ...Array.from({ length: 5 }, () => 'inference_response_chunk'),
      'inference_complete',
    ]);
    expect(connection.frames.at(-1)).toEqual({
      type: 'inference_complete',
      request_id: ID,
      usage: { prompt_tokens: 11, completion_tokens: 2 },
    });
    expect(generator.requests).toMatchObject([{ model: 'local/tiny', owner: true, messages: [{ content: QUESTION }] }]);
    expect(chunks().map(readChunk)).toEqual([
      { events: [], promptTokens: 11 },
      { events: [{ type: 'text', text: 'Hel' }] },
      { events: [{ type: 'text', text: 'lo' }] },
      { events: [], finishReason: 'stop' },
      { events: [] },
    ]);
  });

  test('tells how many of its tokens were reasoning', async () => {
    const events = [
      { type: 'reasoning', text: 'Hm' },
      { type: 'reasoning', text: '.' },
      { type: 'text', text: 'Hello' },
    ] as const;
    const { jobs, start, connection } = play(new ScriptedGenerator({ events }));
    start();
    await jobs.settled();
    expect(connection.frames.at(-1)).toMatchObject({
      usage: { prompt_tokens: 11, completion_tokens: 3, reasoning_tokens: 2 },
    });
  });

  test('for an operation is accepted, answered in one sealed chunk, and completed; a count counts nothing', async () => {
    const vectors = [Float32Array.of(1, 0)];
    for (const [result, promptTokens] of [
      [{ op: 'count', promptTokens: 13 }, 0],
      [{ op: 'embed', promptTokens: 3, vectors }, 3],
    ] as const) {
      const { jobs, start, connection, chunks } = play(new ScriptedGenerator({ result }));
      const darkbloom = { owner: true, op: result.op };
      start(ID, { ...BODY, input: 'a', darkbloom });
      await jobs.settled();
      expect(connection.types).toEqual(['inference_accepted', 'inference_response_chunk', 'inference_complete']);
      expect(chunks().map(readResult)).toEqual([result]);
      expect(connection.frames.at(-1)).toMatchObject({
        usage: { prompt_tokens: promptTokens, completion_tokens: 0 },
      });
    }
  });

  test('writes each chunk as one event of compact JSON, with the build and one id throughout', async () => {
    const { jobs, start, chunks } = play();
    start();
    await jobs.settled();
    for (const chunk of chunks()) {
      expect(chunk).toMatch(/^data: \{"id":"chatcmpl-request-1",.*"created":1782054245,"model":"local\/tiny"/u);
      expect(chunk).not.toMatch(/\n|": |, "/u);
    }
    expect(chunks().at(-1)).toContain('"choices":[],"usage":{"prompt_tokens":11,"completion_tokens":2,');
  });

  test('names the stop string that ended it', async () => {
    const { jobs, start, connection } = play(new ScriptedGenerator({ says: ['Hello'], stopSequence: 'END' }));
    start();
    await jobs.settled();
    expect(connection.frames.at(-1)).toMatchObject({ type: 'inference_complete', stop_sequence: 'END' });
  });

  test('shows nothing of prompt or answer outside the boxes, which are sealed with the registered key', async () => {
    const { jobs, start, connection, identity, log } = play(new ScriptedGenerator({ says: ['a secret', ' answer'] }));
    start();
    await jobs.settled();
    for (const told of [JSON.stringify(connection.frames), log.text]) {
      expect(told).not.toMatch(/secret|answer"|question/u);
    }
    const chunks = connection.framesOf('inference_response_chunk');
    expect(new Set(chunks.map(({ encrypted_data }) => encrypted_data?.ephemeral_public_key))).toEqual(
      new Set([identity.publicKey]),
    );
    expect(chunks.filter((chunk) => 'data' in chunk)).toEqual([]);
    const nonces = chunks.map(({ encrypted_data }) => encrypted_data?.ciphertext.slice(0, 32));
    expect(new Set(nonces).size).toBe(chunks.length);
  });

  test('with the id of a running one is ignored; after its end the id is free', async () => {
    const { jobs, start, connection, generator } = play(new ScriptedGenerator({ says: ['Hello'], hangs: true }));
    start();
    start();
    expect(jobs.running).toBe(1);
    await connection.until('inference_response_chunk', 2);
    jobs.cancel(ID);
    await jobs.settled();
    expect(connection.types.filter((type) => type === 'inference_complete')).toHaveLength(1);
    expect(generator.requests).toHaveLength(1);
    start();
    jobs.cancel(ID);
    await jobs.settled();
    expect(connection.types.filter((type) => /complete|error/u.test(type))).toHaveLength(2);
  });

  test('does not disturb another: each has its own frames', async () => {
    const { jobs, start, connection, chunks } = play();
    for (const id of ['a', 'b', 'c']) start(id);
    expect(jobs.running).toBe(3);
    await jobs.settled();
    for (const id of ['a', 'b', 'c']) {
      expect(
        chunks(id)
          .map((chunk) => textIn(readChunk(chunk)?.events ?? []))
          .join(''),
      ).toBe('Hello');
      const mine = connection.frames.filter((frame) => 'request_id' in frame && frame.request_id === id);
      expect([mine[0]?.type, mine.at(-1)?.type]).toEqual(['inference_accepted', 'inference_complete']);
    }
    expect(jobs.running).toBe(0);
  });
});

describe('a cancelled job', () => {
  test('that has written ends complete, with the tokens it wrote', async () => {
    const { jobs, start, connection } = play(new ScriptedGenerator({ says: ['Hel', 'lo'], hangs: true }));
    start();
    await connection.until('inference_response_chunk', 3);
    jobs.cancel(ID);
    await jobs.settled();
    expect(connection.types.slice(-2)).toEqual(['inference_response_chunk', 'inference_complete']);
    expect(connection.frames.at(-1)).toMatchObject({ usage: { prompt_tokens: 11, completion_tokens: 2 } });
    expect(jobs.stats).toMatchObject({
      requests_served: 1,
      tokens_generated: 2,
      cancellations_received: 1,
      cancellations_before_output: 0,
      cancellations_partial_complete: 1,
    });
  });

  test('that has written nothing ends with the error 499', async () => {
    const { jobs, start, connection } = play(new ScriptedGenerator({ hangs: true }));
    start();
    await connection.until('inference_response_chunk');
    jobs.cancel(ID);
    await jobs.settled();
    expect(connection.frames.at(-1)).toEqual({
      type: 'inference_error',
      request_id: ID,
      error: 'request cancelled',
      status_code: 499,
      error_reason: 'cancelled',
    });
    expect(jobs.stats).toMatchObject({ requests_served: 0, cancellations_before_output: 1 });
  });

  test('that is unknown or has ended is none', async () => {
    const { jobs, start, connection } = play();
    jobs.cancel('never heard of');
    start();
    await jobs.settled();
    jobs.cancel(ID);
    expect(jobs.stats.cancellations_received).toBe(0);
    expect(connection.types.filter((type) => type === 'inference_error')).toEqual([]);
  });

  test('is each of them when the connection is lost', async () => {
    const { jobs, start, connection } = play(new ScriptedGenerator({ says: ['Hello'], hangs: true }));
    for (const id of ['a', 'b']) start(id);
    await connection.until('inference_response_chunk', 4);
    jobs.abortAll();
    await jobs.settled();
    expect(jobs.running).toBe(0);
    expect(jobs.stats.cancellations_received).toBe(0); // nobody asked for it
  });
});

describe('a job that fails', () => {
  test.each<{ code: ErrorCode; status: number; reason?: string }>([
    { code: 'invalid_request', status: 400 },
    { code: 'context_length_exceeded', status: 400, reason: 'request_exceeds_context' },
    { code: 'model_not_found', status: 404 },
    { code: 'unprocessable', status: 422 },
    { code: 'over_capacity', status: 429, reason: 'queue_full' },
    { code: 'cancelled', status: 499, reason: 'cancelled' },
    { code: 'unsupported', status: 501 },
    { code: 'insufficient_memory', status: 503, reason: 'model_load' },
    { code: 'model_corrupt', status: 503, reason: 'model_load' },
    { code: 'draining', status: 503, reason: 'draining' },
    { code: 'paused', status: 503, reason: 'draining' },
    { code: 'runner_died', status: 503 },
    { code: 'internal', status: 500 },
  ])('with $code ends with $status and the reason $reason', async ({ code, status, reason }) => {
    const failure = new DarkbloomError(code, 'why it failed');
    const { jobs, start, connection } = play(new ScriptedGenerator({ breaksWith: failure }));
    start();
    await jobs.settled();
    expect(connection.frames).toEqual([
      {
        type: 'inference_error',
        request_id: ID,
        error: 'why it failed',
        status_code: status,
        ...(reason === undefined ? {} : { error_reason: reason }),
      },
    ]);
    expect(jobs.stats).toMatchObject({ requests_served: 0, generation_errors_after_output: 0 });
  });

  test('tells when the same request will probably be taken, where that is known', async () => {
    const full = new DarkbloomError('over_capacity', 'queue full', { retryAfterS: 12 });
    const { jobs, start, connection } = play(new ScriptedGenerator({ breaksWith: full }));
    start();
    await jobs.settled();
    expect(connection.frames).toMatchObject([
      { status_code: 429, error_reason: 'queue_full', feasible_after_ms: 12_000 },
    ]);
  });

  test('after some text ends with one error, and is counted', async () => {
    const died = new DarkbloomError('runner_died', 'the process ended');
    const { jobs, start, connection } = play(new ScriptedGenerator({ says: ['Hel'], breaksWith: died }));
    start();
    await jobs.settled();
    expect(connection.types).toEqual([
      'inference_accepted',
      'inference_response_chunk',
      'inference_response_chunk',
      'inference_error',
    ]);
    expect(jobs.stats).toMatchObject({ requests_served: 0, tokens_generated: 0, generation_errors_after_output: 1 });
  });

  test('by a fault of ours says nothing of its cause, which is in the log', async () => {
    const { jobs, start, connection, log } = play(new ScriptedGenerator({ breaksWith: new Error('the deep cause') }));
    start();
    await jobs.settled();
    expect(connection.frames).toMatchObject([{ type: 'inference_error', status_code: 500 }]);
    expect(JSON.stringify(connection.frames)).not.toContain('deep');
    expect(log.text).toContain('the deep cause');
  });

  test('because nothing new is wanted was not even opened', async () => {
    const { jobs, connection, generator } = play(undefined, () => {
      throw new DarkbloomError('paused', 'provider paused by its owner');
    });
    jobs.start({ type: 'inference_request', request_id: ID }, connection);
    await jobs.settled();
    expect(connection.frames).toMatchObject([{ status_code: 503, error_reason: 'draining' }]);
    expect(generator.requests).toEqual([]);
  });

  test('because its body is wrong names the field and quotes nothing', async () => {
    const { jobs, start, connection } = play();
    start(ID, { ...BODY, temperature: 'a secret' });
    await jobs.settled();
    expect(connection.frames).toMatchObject([{ type: 'inference_error', status_code: 400 }]);
    expect(JSON.stringify(connection.frames)).toMatch(/temperature/u);
    expect(JSON.stringify(connection.frames)).not.toContain('secret');
  });
});

test.each<[string, (stage: ReturnType<typeof play>) => Partial<InferenceRequest>, string]>([
  ['has no box', () => ({ encrypted_body: undefined }), 'coordinator text request missing encrypted body'],
  [
    'has no key of its sender',
    ({ channel }) => ({ encrypted_body: { ...channel.seal('{}'), ephemeral_public_key: 'no key' } }),
    'missing or malformed ephemeral_public_key',
  ],
  [
    'has the key of another sender',
    ({ channel }) => ({
      encrypted_body: { ...channel.seal('{}'), ephemeral_public_key: toBase64(newKeyPair().publicKey) },
    }),
    'decryption failed',
  ],
  [
    'was sealed to another machine',
    () => ({ encrypted_body: new Channel(newKeyPair(), newKeyPair().publicKey).seal('{}') }),
    'decryption failed',
  ],
  [
    'has a box that is too short',
    ({ channel }) => ({ encrypted_body: { ...channel.seal('{}'), ciphertext: 'AAAA' } }),
    'decryption failed',
  ],
  ['is no JSON inside', ({ channel }) => ({ encrypted_body: channel.seal('a secret') }), 'invalid request body'],
  ['is a list inside', ({ channel }) => ({ encrypted_body: channel.seal('["a secret"]') }), 'invalid request body'],
])('a request that %s is refused with 400, in the words of the wire', async (_, changes, error) => {
  const stage = play();
  const { jobs, connection, seal, log, generator } = stage;
  jobs.start({ ...seal(JSON.stringify(BODY)), ...changes(stage) }, connection);
  await jobs.settled();
  expect(connection.frames).toEqual([{ type: 'inference_error', request_id: ID, error, status_code: 400 }]);
  expect(log.text).not.toContain('secret');
  expect(generator.requests).toEqual([]);
});

test('the counters go on over all jobs', async () => {
  const { jobs, start } = play();
  for (const id of ['a', 'b']) start(id);
  await jobs.settled();
  start('c');
  await jobs.settled();
  expect(jobs.stats).toEqual({
    requests_served: 3,
    tokens_generated: 6,
    cancellations_received: 0,
    cancellations_before_output: 0,
    cancellations_partial_complete: 0,
    generation_errors_after_output: 0,
  });
});

describe('settled', () => {
  test('is at once true where nothing runs', async () => {
    await play().jobs.settled();
  });

  test('waits for all, also for those that come meanwhile', async () => {
    const { jobs, start, connection } = play(new ScriptedGenerator({ says: ['Hello'], hangs: true }));
    start('a');
    const settled = jobs.settled();
    start('b');
    await connection.until('inference_response_chunk', 4);
    jobs.cancel('a');
    await connection.until('inference_complete');
    expect(jobs.running).toBeGreaterThan(0);
    jobs.cancel('b');
    await settled;
    expect(jobs.running).toBe(0);
    expect(connection.framesOf('inference_complete')).toHaveLength(2);
  });
});
