import { describe, expect, test } from 'vitest';
import type { Account } from '../../src/coordinator/accounts.js';
import type { Machine } from '../../src/coordinator/machine.js';
import { LearnedPace } from '../../src/coordinator/learned-pace.js';
import { eligible, type Knowledge } from '../../src/coordinator/routing.js';
import type { ModelInfo, SlotCapacity } from '../../src/protocol/provider-messages.js';

const NOW = 1_782_054_245_000;
const FRESHNESS_MS = 16 * 60_000;
const BUILD = 'local/tiny-v2';
const OLD_BUILD = 'local/tiny-v1';
const HASH = 'a'.repeat(64);

const ME: Account = { id: 'acct_me', name: 'me', isOwner: true, acceptUnattested: false };

function model(id: string, changes: Partial<ModelInfo> = {}): ModelInfo {
  return { id, size_bytes: 1, model_type: 'text', quantization: 'F16', ...changes };
}

function serving(...models: ModelInfo[]): Pick<Machine, 'models'> {
  return { models: new Map(models.map((each) => [each.id, each])) };
}

function slot(changes: Partial<SlotCapacity> = {}): SlotCapacity {
  return {
    model: BUILD,
    state: 'idle',
    num_running: 0,
    num_waiting: 0,
    active_tokens: 0,
    max_tokens_potential: 0,
    ...changes,
  };
}

function capacity(...slots: SlotCapacity[]): Pick<Machine, 'capacity'> {
  return {
    capacity: { slots, gpu_memory_active_gb: 0, gpu_memory_peak_gb: 0, gpu_memory_cache_gb: 0, total_memory_gb: 8 },
  };
}

const hot = (thermal_state: string) => ({ metrics: { memory_pressure: 0, cpu_usage: 0, thermal_state } });

/** My machine, free and in good order, with the build in memory. */
function machine(changes: Partial<Machine> = {}): Machine {
  return {
    id: 'machine',
    machineId: 'mach_1',
    accountId: ME.id,
    ...serving(model(BUILD)),
    privateOnly: true,
    encrypted: true,
    mistrust: undefined,
    draining: false,
    challengedAt: NOW,
    heardAt: NOW,
    prefillTps: undefined,
    decodeTps: undefined,
    ...hot('nominal'),
    ...capacity(slot()),
    assigned: new Map(),
    foreign: new Map(),
    reserved: new Map(),
    full: new Set(),
    wrote: new Set(),
    ...changes,
  };
}

function chosen(machines: Machine[], wish: Partial<Parameters<typeof eligible>[1]> = {}) {
  return eligible(machines, { account: ME, mode: 'self', builds: [{ id: BUILD }], now: NOW, ...wish });
}

const ids = (machines: Machine[], wish: Partial<Parameters<typeof eligible>[1]> = {}) =>
  chosen(machines, wish).map((candidate) => candidate.machine.id);

describe('a machine of the account itself', () => {
  test.each([
    { privateOnly: true, acceptUnattested: false },
    { privateOnly: true, acceptUnattested: true },
    { privateOnly: false, acceptUnattested: false },
    { privateOnly: false, acceptUnattested: true },
  ])('serves whoever agreed to what: $privateOnly, $acceptUnattested', ({ privateOnly, acceptUnattested }) => {
    for (const mode of ['none', 'prefer', 'self'] as const) {
      const [candidate] = chosen([machine({ privateOnly })], { mode, account: { ...ME, acceptUnattested } });
      expect(candidate).toMatchObject({ build: BUILD, own: true });
    }
  });
});

describe("another person's machine", () => {
  test.each([
    { mode: 'none', privateOnly: false, acceptUnattested: true, serves: true },
    { mode: 'none', privateOnly: true, acceptUnattested: true, serves: false },
    { mode: 'none', privateOnly: false, acceptUnattested: false, serves: false },
    { mode: 'none', privateOnly: true, acceptUnattested: false, serves: false },
    { mode: 'prefer', privateOnly: false, acceptUnattested: true, serves: true },
    { mode: 'prefer', privateOnly: true, acceptUnattested: true, serves: false },
    { mode: 'prefer', privateOnly: false, acceptUnattested: false, serves: false },
    { mode: 'prefer', privateOnly: true, acceptUnattested: false, serves: false },
    { mode: 'self', privateOnly: false, acceptUnattested: true, serves: false },
    { mode: 'self', privateOnly: true, acceptUnattested: true, serves: false },
    { mode: 'self', privateOnly: false, acceptUnattested: false, serves: false },
    { mode: 'self', privateOnly: true, acceptUnattested: false, serves: false },
  ] as const)(
    'by the route $mode, private: $privateOnly, accepted unattested: $acceptUnattested, serves: $serves',
    ({ mode, privateOnly, acceptUnattested, serves }) => {
      const candidates = chosen([machine({ accountId: 'acct_other', privateOnly })], {
        mode,
        account: { ...ME, acceptUnattested },
      });
      expect(candidates.map(({ own }) => own)).toEqual(serves ? [false] : []);
    },
  );
});

test.each<[string, Partial<Machine>]>([
  ['is linked to no account', { accountId: undefined }],
  ['cannot be sealed to', { encrypted: false }],
  ['is not trusted', { mistrust: '3 challenges in a row were not answered' }],
  ['is draining', { draining: true }],
  ['is too hot', hot('critical')],
  ['never answered a challenge', { challengedAt: undefined }],
  ['answered its last challenge too long ago', { challengedAt: NOW - FRESHNESS_MS - 1 }],
  ['does not have the build', serving(model('local/other'))],
  ['cannot render the template of the build', serving(model(BUILD, { template_render_ok: false }))],
])('a machine that %s serves not even its owner', (_, changes) => {
  expect(ids([machine(changes)])).toEqual([]);
});

test.each<[string, Partial<Machine>]>([
  ['answered its last challenge 16 minutes ago', { challengedAt: NOW - FRESHNESS_MS }],
  ['is warm', hot('serious')],
  ['has said nothing of its load', { metrics: undefined, capacity: undefined }],
  ['has tried the template', serving(model(BUILD, { template_render_ok: true }))],
])('a machine that %s serves', (_, changes) => {
  expect(ids([machine(changes)])).toEqual(['machine']);
});

test.each<{ pinned: string | undefined; told: string | undefined; serves: boolean }>([
  { pinned: HASH, told: HASH, serves: true },
  { pinned: HASH, told: 'b'.repeat(64), serves: false },
  { pinned: HASH, told: undefined, serves: true },
  { pinned: undefined, told: HASH, serves: true },
  { pinned: undefined, told: undefined, serves: true },
])('with the weights pinned to $pinned, a machine with $told serves: $serves', ({ pinned, told, serves }) => {
  const weights = told === undefined ? {} : { weight_hash: told };
  const wish = { builds: [{ id: BUILD, weightHash: pinned }] };
  expect(ids([machine(serving(model(BUILD, weights)))], wish)).toEqual(serves ? ['machine'] : []);
});

describe('the order to try machines in', () => {
  const guest: Account = { ...ME, acceptUnattested: true };
  const busy = (requests: number) => ({ assigned: new Map([[BUILD, requests]]) });
  const open = (id: string, changes: Partial<Machine> = {}) =>
    machine({ id, accountId: 'acct_other', privateOnly: false, ...changes });

  test('is own ones first where that was asked, even cold and busy', () => {
    const own = machine({ id: 'own', capacity: undefined, ...busy(3) });
    expect(ids([open('other'), own], { mode: 'prefer', account: guest })).toEqual(['own', 'other']);
  });

  test('does not look at who owns what where nothing was asked', () => {
    const own = machine({ id: 'own', ...busy(1) });
    expect(ids([own, open('other')], { mode: 'none', account: guest })).toEqual(['other', 'own']);
  });

  test('is the model in memory before one that must be loaded, and that before one never heard of', () => {
    const cold = machine({ id: 'cold', ...capacity(slot({ state: 'idle_shutdown' })) });
    const unknown = machine({ id: 'unknown', capacity: undefined });
    const warm = machine({ id: 'warm', ...capacity(slot({ state: 'running' })), ...busy(3) });
    expect(ids([unknown, cold, warm])).toEqual(['warm', 'cold', 'unknown']);
  });

  test('is the least busy first, counting what others sent there', () => {
    const machines = [
      machine({ id: 'three', ...busy(3) }),
      machine({ id: 'two', ...busy(1), foreign: new Map([[BUILD, 1]]) }),
      machine({ id: 'none' }),
      machine({ id: 'one', foreign: new Map([[BUILD, 1]]) }),
    ];
    expect(ids(machines)).toEqual(['none', 'one', 'two', 'three']);
  });

  test('counts a build alone: requests of another build on the same machine do not matter', () => {
    const other = machine({ id: 'other', assigned: new Map([[OLD_BUILD, 9]]) });
    expect(ids([machine({ id: 'mine', ...busy(1) }), other])).toEqual(['other', 'mine']);
  });
});

test('of two builds that will do, a machine is asked for the first it can serve', () => {
  const builds = [{ id: BUILD, weightHash: HASH }, { id: OLD_BUILD }];
  const both = machine({ id: 'both', ...serving(model(OLD_BUILD), model(BUILD)) });
  const old = machine({ id: 'old', ...serving(model(OLD_BUILD)) });
  const changed = machine({ id: 'changed', ...serving(model(BUILD, { weight_hash: 'c' }), model(OLD_BUILD)) });
  const candidates = chosen([both, old, changed], { builds });
  expect(new Map(candidates.map((candidate) => [candidate.machine.id, candidate.build]))).toEqual(
    new Map([
      ['both', BUILD],
      ['old', OLD_BUILD],
      ['changed', OLD_BUILD],
    ]),
  );
});

test.each<[string, Pick<Machine, 'capacity'>, number]>([
  ['has said nothing', { capacity: undefined }, 4],
  ['has said nothing of this build', capacity(slot({ model: OLD_BUILD, max_concurrency: 9 })), 4],
  ['has not said how many', capacity(slot()), 4],
  ['says 1', capacity(slot({ max_concurrency: 1 })), 1],
  ['says 24', capacity(slot({ max_concurrency: 24 })), 24],
  ['says 1000', capacity(slot({ max_concurrency: 1_000 })), 24],
])('a machine that %s has room below %i requests', (_, told, most) => {
  const free = (requests: number, foreign = 0) =>
    chosen([machine({ ...told, assigned: new Map([[BUILD, requests]]), foreign: new Map([[BUILD, foreign]]) })]).map(
      (candidate) => candidate.free,
    );
  expect([free(most - 1), free(most), free(0, most)]).toEqual([[true], [false], [false]]);
});

describe('a machine is not free', () => {
  const others: Account = { ...ME, acceptUnattested: true };
  const free = (changes: Partial<Machine>, tokens = 0, account = ME) =>
    chosen([machine({ privateOnly: false, ...changes })], { tokens, account, mode: 'none' }).map((each) => each.free);
  const budget = { max_concurrency: 2, active_token_budget_max: 4_096 };

  test.each<[string, Partial<SlotCapacity>, number, number, boolean]>([
    ['has room', { active_token_budget_used: 1_000 }, 0, 2_000, true],
    ['is full of running ones', { active_token_budget_used: 3_000 }, 0, 2_000, false],
    ['is full of waiting ones', { queued_token_budget: 3_000 }, 0, 2_000, false],
    ['is full of ones sent since', {}, 3_000, 2_000, false],
    ['would give the request no more than its share', { active_token_budget_used: 2_048 }, 0, 100_000, true],
  ])('whose token budget %s: %j and %i, for %i tokens', (_, used, reserved, tokens, expected) => {
    const changes = { ...capacity(slot({ ...budget, ...used })), reserved: new Map([[BUILD, reserved]]) };
    expect(free(changes, tokens)).toEqual([expected]);
  });

  test('after it refused a request as full', () => {
    expect(free({ full: new Set([BUILD]) })).toEqual([false]);
    expect(free({ full: new Set([OLD_BUILD]) })).toEqual([true]);
  });

  test('while it loads the model, except for its owner', () => {
    const loading = { accountId: 'acct_other', ...capacity(slot({ state: 'reloading' })) };
    expect(free(loading, 0, others)).toEqual([false]);
    expect(free({ ...loading, accountId: ME.id })).toEqual([true]);
  });
});

describe('a weary machine', () => {
  const weary = machine({ id: 'weary', ...capacity(slot({ state: 'crashed' })) });
  const resting = (...tired: string[]): Knowledge => ({
    restsUntil: ({ id }) => (tired.includes(id) ? NOW + 1 : undefined),
    cachedTokens: () => 0,
    corrected: (_machine, _build, promisedMs) => promisedMs,
  });

  test('is left alone where another one has the model, also by its owner', () => {
    expect(ids([weary, machine({ id: 'cold', capacity: undefined })])).toEqual(['cold']);
    const two = [machine({ id: 'one' }), machine({ id: 'two' })];
    expect(ids(two, { knowledge: resting('one') })).toEqual(['two']);
  });

  test('is tried by its owner where there is no other, and by nobody else', () => {
    expect(ids([weary])).toEqual(['weary']);
    const open = machine({ id: 'open', accountId: 'acct_other', privateOnly: false });
    const wish = { mode: 'none', account: { ...ME, acceptUnattested: true }, knowledge: resting('open') } as const;
    expect(ids([open], wish)).toEqual([]);
  });
});

describe('the first token is expected', () => {
  const speeds = (changes: Partial<SlotCapacity>) =>
    capacity(slot({ observed_prefill_tps: 1_000, observed_decode_tps: 100, ...changes }));
  const ms = (changes: Partial<Machine>, knowledge?: Knowledge) =>
    chosen([machine({ ...speeds({}), ...changes })], {
      promptTokens: 2_000,
      ...(knowledge === undefined ? {} : { knowledge }),
    }).map(({ expectedMs }) => Math.round(expectedMs));

  test.each<[string, Partial<Machine>, number]>([
    ['after reading the prompt and one step', {}, 2_010],
    ['twice as late beside another request', { assigned: new Map([[BUILD, 1]]) }, 4_020],
    ['later on a hot machine', { ...hot('serious') }, 3_015],
    ['later on one that was silent', { heardAt: NOW - 15_001 }, 7_010],
    ['after the load that it told of', speeds({ state: 'idle_shutdown', model_load_time_ms: 9_000 }), 11_010],
    ['after 20 s of loading again', speeds({ state: 'idle_shutdown' }), 22_010],
    ['by what was registered, where nothing was seen', { ...capacity(slot()), prefillTps: 500, decodeTps: 50 }, 4_020],
    ['after 30 s of loading, by default speeds, where nothing is known', { capacity: undefined }, 40_050],
  ])('%s', (_, changes, expected) => {
    expect(ms(changes)).toEqual([expected]);
  });

  test('sooner where the prompt is cached, in a model in memory', () => {
    const knowledge = {
      restsUntil: () => undefined,
      cachedTokens: () => 1_500,
      corrected: (_: Machine, __: string, at: number) => at,
    };
    expect(ms({}, knowledge)).toEqual([510]);
    expect(ms(speeds({ state: 'idle_shutdown', model_load_time_ms: 0 }), knowledge)).toEqual([2_010]);
  });

  test('as late as it was before, more and more, and after a while as promised again', () => {
    const pace = new LearnedPace();
    const corrected = (now: number) => Math.round(pace.correct('m', BUILD, 1_000, now));
    const seen = [1, 2, 3, 4, 5, 6].map(() => {
      pace.saw('m', BUILD, { promisedMs: 1_000, seenMs: 4_000 }, NOW);
      return corrected(NOW);
    });
    expect(seen).toEqual([...seen].sort((a, b) => a - b));
    expect([seen[0], seen[5]]).toEqual([1_516, 3_398]);
    expect(corrected(NOW + 3_600_000)).toBe(1_000);
    expect(Math.round(pace.correct('other', BUILD, 1_000, NOW))).toBe(1_000);
  });

  test('no more than eight times as late by a single answer, however late that was', () => {
    const [pace, other] = [new LearnedPace(), new LearnedPace()];
    pace.saw('m', BUILD, { promisedMs: 1_000, seenMs: 8_000 }, NOW);
    other.saw('m', BUILD, { promisedMs: 1_000, seenMs: 8_000_000 }, NOW);
    expect(other.correct('m', BUILD, 1_000, NOW)).toBe(pace.correct('m', BUILD, 1_000, NOW));
  });
});
