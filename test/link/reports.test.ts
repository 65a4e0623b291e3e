import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import type { SlotSnapshot } from '../../src/engine/model-slot.js';
import { heartbeatFrame, registerFrame } from '../../src/link/reports.js';
import type { InstalledModel } from '../../src/models/store.js';
import { Heartbeat, Register } from '../../src/protocol/provider-messages.js';
import { ownFixture } from '../support/shared-fixtures.js';

type RegisterFacts = Parameters<typeof registerFrame>[0];
type HeartbeatFacts = Parameters<typeof heartbeatFrame>[0];

const GIB = 1024 ** 3;
const samples = z
  .object({
    messages: z.object({ register: z.strictObject(Register.shape), heartbeat: z.strictObject(Heartbeat.shape) }),
  })
  .parse(ownFixture('wire/honest_provider.json')).messages;

const model: InstalledModel = {
  id: 'local/qwen3-4b-q4_k_m',
  alias: 'qwen3-4b',
  displayName: 'Qwen3 4B',
  family: 'qwen3',
  architecture: 'qwen3',
  quantization: 'Q4_K_M',
  path: '/models/qwen3-4b.gguf',
  sizeBytes: 2_497_280_256,
  trainedContextTokens: 40_960,
  maxOutputTokens: 8_192,
  shape: { weightBytes: 2_497_280_256, layers: 36, kvHeads: 8, keyLength: 128, valueLength: 128 },
  templateRenderOk: true,
  weightHash: '3'.repeat(64),
};

const registerFacts: RegisterFacts = {
  hardware: samples.register.hardware,
  models: [model],
  capabilities: samples.register.privacy_capabilities ?? expect.fail('the sample has no capabilities'),
  version: '0.7.0',
  publicKey: samples.register.public_key ?? '',
  linkToken: samples.register.auth_token,
  serveOthers: false,
};

describe('the register frame', () => {
  test('has the shape of the sample, without the speeds that were not measured', () => {
    const { decode_tps: _decode, prefill_tps: _prefill, ...expected } = samples.register;
    expect(registerFrame(registerFacts)).toEqual(expected);
  });

  test('has nothing in it that the protocol does not know', () => {
    const frame = registerFrame(registerFacts);
    expect(Register.parse(frame)).toEqual(frame);
  });

  test('offers the machine to others only when its owner said so', () => {
    expect(registerFrame({ ...registerFacts, serveOthers: true })).not.toHaveProperty('private_only');
  });

  test('of a machine that is not linked carries no token', () => {
    expect(registerFrame({ ...registerFacts, linkToken: undefined })).not.toHaveProperty('auth_token');
  });

  test('claims no hash that nobody computed, and tells of a template that does not render', () => {
    const { weightHash: _hash, ...own } = model;
    const [info] = registerFrame({ ...registerFacts, models: [{ ...own, templateRenderOk: false }] }).models;
    expect(info).not.toHaveProperty('weight_hash');
    expect(info?.template_render_ok).toBe(false);
  });

  test('never says more of the machine than it is', () => {
    const frame = registerFrame(registerFacts);
    expect(frame.backend).toBe('llama.cpp');
    expect(frame).not.toHaveProperty('attestation');
    expect(frame.privacy_capabilities).toBe(registerFacts.capabilities);
  });
});

const slot: SlotSnapshot = {
  id: model.id,
  state: 'ready',
  running: 0,
  waiting: 0,
  rows: 4,
  contextTokens: 8_192,
  activeTokens: 0,
  reservedTokens: 0,
  decodeTps: 61.2,
  prefillTps: 690,
  loadMs: 2_100,
  bytes: 6 * GIB,
  isMeasured: true,
  predicted: { weightBytes: 4 * GIB, kvBytes: GIB, computeBytes: GIB, totalBytes: 6 * GIB },
  pinned: false,
  lastUsed: 10,
  unloadsAt: undefined,
};

const facts: HeartbeatFacts = {
  slots: [slot],
  kvBytesPerToken: () => 147_456,
  metrics: { memory_pressure: 0.41, cpu_usage: 0.05, thermal_state: 'nominal' },
  memory: { limit: 64 * GIB, used: 6 * GIB, peak: 7 * GIB, available: 50 * GIB },
  stats: { requests_served: 12, tokens_generated: 3_481 },
  closed: false,
};

const beat = (...slots: Partial<SlotSnapshot>[]) =>
  heartbeatFrame({ ...facts, slots: slots.map((changes) => ({ ...slot, ...changes })) });

describe('the heartbeat of an idle machine', () => {
  const frame = heartbeatFrame(facts);

  test('has the shape of the sample', () => {
    const { backend_capacity: capacity, ...rest } = samples.heartbeat;
    const { backend_capacity: ours, ...ourRest } = frame;
    expect(ourRest).toEqual(rest);
    expect(ours?.slots[0]).toMatchObject(capacity?.slots[0] ?? expect.fail('the sample has no slot'));
    expect(Object.keys(ours ?? {}).sort()).toEqual(Object.keys(capacity ?? {}).sort());
  });

  test('has nothing in it that the protocol does not know', () => {
    expect(Heartbeat.parse(frame)).toEqual(frame);
  });

  test('counts memory in GiB: what models take, and what is left for another', () => {
    expect(frame.backend_capacity).toMatchObject({
      gpu_memory_active_gb: 6,
      total_memory_gb: 64,
      free_for_load_gb: 56, // the model that rests would leave
    });
  });
});

test.each<[string, Partial<HeartbeatFacts>, Partial<SlotSnapshot>, string]>([
  ['nothing running', {}, {}, 'idle'],
  ['a request running', {}, { running: 1 }, 'serving'],
  ['a request that waits for the model to load', {}, { state: 'loading', running: 1 }, 'idle'],
  ['no new request wanted', { closed: true }, {}, 'draining'],
  ['no new request wanted while one runs', { closed: true }, { running: 1 }, 'draining'],
])('the status with %s', (_, more, changes, status) => {
  expect(heartbeatFrame({ ...facts, ...more, slots: [{ ...slot, ...changes }] }).status).toBe(status);
});

test.each<[SlotSnapshot['state'], number, string]>([
  ['ready', 0, 'idle'],
  ['ready', 2, 'running'],
  ['loading', 1, 'reloading'],
  ['unloading', 0, 'reloading'],
  ['failed', 0, 'crashed'],
])('a slot that is %s with %i requests is told as %s', (state, running, told) => {
  const frame = beat({ state, running });
  expect(frame.backend_capacity?.slots.map((each) => each.state)).toEqual([told]);
  expect(frame.warm_models).toEqual(state === 'ready' ? [model.id] : []);
});

test('a model that is not in memory has no slot and is not warm', () => {
  const frame = beat({ state: 'absent' });
  expect(frame.backend_capacity?.slots).toEqual([]);
  expect(frame).not.toHaveProperty('active_model');
});

test('the active model is the one that answers, else the one that answered last', () => {
  expect(beat({ id: 'a', lastUsed: 9 }, { id: 'b', running: 1, lastUsed: 1 }).active_model).toBe('b');
  expect(beat({ id: 'a', lastUsed: 1 }, { id: 'b', lastUsed: 9 }).active_model).toBe('b');
});

test('the room for tokens is that of all rows, and waiting requests reserve a whole row each', () => {
  const told = beat({ running: 4, waiting: 2, activeTokens: 640, reservedTokens: 4_096 }).backend_capacity?.slots[0];
  expect(told).toMatchObject({
    num_running: 4,
    num_waiting: 2,
    active_tokens: 640,
    max_tokens_potential: 4_096,
    active_token_budget_used: 4_096,
    active_token_budget_max: 32_768,
    queued_token_budget: 16_384,
  });
});

test('what was never measured is not told', () => {
  const told = beat({ decodeTps: undefined, prefillTps: undefined, loadMs: undefined }).backend_capacity?.slots[0];
  expect(Object.keys(told ?? {})).not.toEqual(
    expect.arrayContaining([expect.stringMatching(/observed_|model_load_time_ms/u)]),
  );
});

test.each<[string, { limit: number; used: number; available: number }, Partial<SlotSnapshot>, number]>([
  ['the limit leaves less than the system has', { limit: 20, used: 6, available: 50 }, { running: 1 }, 14],
  ['other programs leave less than the limit', { limit: 20, used: 6, available: 3 }, { running: 1 }, 3],
  ['models together were allowed too much', { limit: 20, used: 25, available: 50 }, { running: 1 }, 0],
  ['the only model rests', { limit: 20, used: 6, available: 50 }, {}, 20],
  ['the only model rests and other programs take much', { limit: 20, used: 6, available: 3 }, {}, 9],
  ['the only model is kept', { limit: 20, used: 6, available: 50 }, { pinned: true }, 14],
  ['the only model is being loaded', { limit: 20, used: 6, available: 50 }, { state: 'loading' }, 14],
])('when %s, that is what is free for another model', (_case, gib, changes, free) => {
  const { limit, used, available } = gib;
  const memory = { limit: limit * GIB, used: used * GIB, peak: used * GIB, available: available * GIB };
  const frame = heartbeatFrame({ ...facts, memory, slots: [{ ...slot, ...changes }] });
  expect(frame.backend_capacity?.free_for_load_gb).toBe(free);
});
