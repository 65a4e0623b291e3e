import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import type { RouteMode } from '../../src/coordinator/ledger.js';
import { machineIdOf } from '../../src/coordinator/accounts.js';
import { auditBooks } from '../../src/coordinator/audit.js';
import { routeModeOf } from '../../src/coordinator/self-route.js';
import { MAX_WAITING } from '../../src/coordinator/waiting-line.js';
import { eventually } from '../support/eventually.js';
import { BUILD, ScriptedProvider } from './scripted-provider.js';
import { knownModel, StartedCoordinator } from './started-coordinator.js';

const USAGE = { prompt_tokens: 4, completion_tokens: 2 };
const PRICE = 100n; // the least that a request costs
const MONEY = 1_000_000n;
const HOLD_OF_A_SHORT_REQUEST = 100n;

describe('the route of a request', () => {
  test.each([
    { header: undefined, onlySelf: false, fallback: 'none', mode: 'none' },
    { header: undefined, onlySelf: false, fallback: 'self', mode: 'self' },
    { header: 'self', onlySelf: false, fallback: 'none', mode: 'self' },
    { header: ' SELF ', onlySelf: false, fallback: 'none', mode: 'self' },
    { header: 'prefer', onlySelf: false, fallback: 'self', mode: 'prefer' },
    { header: 'Prefer', onlySelf: false, fallback: 'none', mode: 'prefer' },
    { header: 'none', onlySelf: false, fallback: 'self', mode: 'none' },
    { header: '', onlySelf: false, fallback: 'self', mode: 'none' },
    { header: 'self, prefer', onlySelf: false, fallback: 'self', mode: 'none' },
    { header: undefined, onlySelf: true, fallback: 'none', mode: 'self' },
    { header: 'none', onlySelf: true, fallback: 'none', mode: 'self' },
    { header: 'prefer', onlySelf: true, fallback: 'none', mode: 'self' },
  ] as const)(
    'with the header $header, a key for own machines only: $onlySelf, and otherwise $fallback, is $mode',
    ({ header, onlySelf, fallback, mode }) => {
      expect(routeModeOf(header, onlySelf, fallback)).toBe(mode);
    },
  );
});

/** States of the caller's own machine. */
type Own =
  | 'none linked'
  | 'offline'
  | 'without the model'
  | 'not challenged yet'
  | 'not trusted'
  | 'paused'
  | 'free'
  | 'cold'
  | 'busy, line full'
  | 'failing'
  | 'failing beside a free one';

interface Row {
  header?: string;
  /** The key has `self_route_only`. */
  onlySelf?: boolean;
  own: Own;
  /** Whether another person's machine is free, open to all and accepted by the caller. */
  fleet?: boolean;
  /** Micro-USD; enough unless told otherwise. */
  balance?: bigint;
  /** Names the build, not the alias. */
  byBuild?: boolean;
  answer: number;
  code?: string;
  servedBy?: 'own' | 'other';
  charged?: bigint;
  retryAfter?: string;
  /** The SDKs are told not to try again. */
  final?: boolean;
  /** Route and price in the usage row. */
  route?: RouteMode;
}

const TABLE: Row[] = [
  // without a header, and with one that says nothing: the fleet, and paid, also on the own machine
  { own: 'none linked', fleet: true, answer: 200, servedBy: 'other', charged: PRICE, route: 'none' },
  { own: 'free', answer: 200, servedBy: 'own', charged: PRICE, route: 'none' },
  { header: 'whatever', own: 'free', answer: 200, servedBy: 'own', charged: PRICE, route: 'none' },
  { own: 'none linked', answer: 503, code: 'model_unavailable', retryAfter: '2' },
  { own: 'none linked', fleet: true, balance: 0n, answer: 402, code: 'insufficient_quota', final: true },
  { own: 'busy, line full', answer: 429, code: 'rate_limit_exceeded', retryAfter: '30' },
  // a key for own machines alone is `self`, whatever the header says
  ...['none', 'prefer', undefined].map((header): Row => ({
    ...(header === undefined ? {} : { header }),
    onlySelf: true,
    own: 'none linked',
    fleet: true,
    answer: 409,
    code: 'no_linked_machine',
    final: true,
  })),
  {
    header: 'prefer',
    onlySelf: true,
    own: 'free',
    fleet: true,
    answer: 200,
    servedBy: 'own',
    charged: 0n,
    route: 'self',
  },
  // self
  ...[false, true].flatMap((byBuild): Row[] => {
    const self = { header: 'self', byBuild, fleet: true };
    const offline = { code: 'machine_offline', retryAfter: '30', final: true };
    const notLoaded = { code: 'model_not_loaded', retryAfter: '15', final: true };
    return [
      { ...self, own: 'none linked', answer: 409, code: 'no_linked_machine', final: true },
      { ...self, own: 'offline', answer: 503, ...offline },
      { ...self, own: 'not trusted', answer: 503, ...offline },
      { ...self, own: 'without the model', answer: 503, ...notLoaded },
      { ...self, own: 'not challenged yet', answer: 503, ...notLoaded },
      { ...self, own: 'paused', answer: 503, code: 'draining', retryAfter: '3' },
      { ...self, own: 'busy, line full', answer: 429, code: 'machine_busy', retryAfter: '30' },
      { ...self, own: 'free', answer: 200, servedBy: 'own', charged: 0n, route: 'self' },
      { ...self, own: 'cold', answer: 200, servedBy: 'own', charged: 0n, route: 'self' },
      { ...self, own: 'free', balance: 0n, answer: 200, servedBy: 'own', charged: 0n, route: 'self' },
      { ...self, own: 'failing', answer: 503, code: 'provider_error', retryAfter: '2' },
      { ...self, own: 'failing beside a free one', answer: 200, servedBy: 'own', charged: 0n, route: 'self' },
    ];
  }),
  // prefer: settled by who served
  ...(['free', 'cold', 'failing beside a free one'] as const).map((own): Row => ({
    header: 'prefer',
    own,
    fleet: true,
    answer: 200,
    servedBy: 'own',
    charged: 0n,
    route: 'prefer',
  })),
  ...(
    ['none linked', 'offline', 'without the model', 'not challenged yet', 'not trusted', 'paused', 'failing'] as const
  ).map((own): Row => ({
    header: 'prefer',
    own,
    fleet: true,
    answer: 200,
    servedBy: 'other',
    charged: PRICE,
    route: 'prefer',
  })),
  {
    header: 'prefer',
    own: 'busy, line full',
    fleet: true,
    answer: 200,
    servedBy: 'other',
    charged: PRICE,
    route: 'prefer',
  },
  { header: 'prefer', own: 'busy, line full', answer: 429, code: 'rate_limit_exceeded', retryAfter: '30' },
  { header: 'prefer', own: 'none linked', answer: 503, code: 'model_unavailable', retryAfter: '2' },
  {
    header: 'prefer',
    own: 'free',
    balance: HOLD_OF_A_SHORT_REQUEST - 1n,
    answer: 402,
    code: 'insufficient_quota',
    final: true,
  },
  {
    header: 'prefer',
    own: 'free',
    balance: HOLD_OF_A_SHORT_REQUEST,
    answer: 200,
    servedBy: 'own',
    charged: 0n,
    route: 'prefer',
  },
];

const asks = (content: string, model = 'tiny') => ({
  model,
  messages: [{ role: 'user', content }],
  max_tokens: 2,
});

/** One coordinator; for each test its own accounts and machines. */
let stage: StartedCoordinator;
let accounts = 0;
const leaving: ScriptedProvider[] = [];
beforeAll(async () => {
  stage = await StartedCoordinator.start({ models: [knownModel(BUILD), knownModel('local/other', 'other')] });
});
afterEach(() => {
  for (const { session } of leaving.splice(0)) stage.coordinator.fleet.remove(session);
});
afterAll(() => stage[Symbol.asyncDispose]());

interface Machine {
  provider: ScriptedProvider;
  id: string;
}

/** An account with money, keys and machines. */
class Person {
  readonly account = stage.coordinator.accounts.add(`person-${++accounts}`, { acceptUnattested: true });

  constructor(balance = MONEY) {
    if (balance > 0n) stage.coordinator.ledger.credit(this.account.id, balance, 'test');
  }

  get balance(): bigint {
    return stage.coordinator.ledger.balance(this.account.id).balance;
  }

  key(selfRouteOnly = false): string {
    return stage.coordinator.accounts.keys.create(this.account.id, { self_route_only: selfRouteOnly }).secret;
  }

  link(): string {
    return stage.coordinator.accounts.mintProviderToken(this.account.id, 'test');
  }

  /** A machine of this person that is connected, and not yet challenged. */
  connect({ rows = 4, build = BUILD, open = false } = {}): Machine {
    const token = this.link();
    const { clock, coordinator } = stage;
    const provider = new ScriptedProvider({
      clock,
      accountId: this.account.id,
      machineId: machineIdOf(token),
      changed: () => coordinator.fleet.changed(),
      register: {
        private_only: !open,
        models: [{ id: build, size_bytes: 1, model_type: 'text', quantization: 'F16' }],
      },
      rows,
    });
    leaving.push(provider);
    coordinator.fleet.add(provider.session);
    return { provider, id: machineIdOf(token) };
  }
}

/** Answers every request, at once. */
async function serve({ provider }: Machine): Promise<never> {
  for (;;) {
    const request = await provider.request();
    request.accept();
    request.write('Hello');
    request.complete(USAGE);
  }
}

async function fail({ provider }: Machine): Promise<never> {
  for (;;) (await provider.request()).fail(503, 'the process that ran the model ended');
}

/** The state of a person's machine; those that can serve do. */
async function bring(person: Person, own: Own): Promise<void> {
  switch (own) {
    case 'none linked':
      return;
    case 'offline':
      person.link();
      return;
    case 'without the model': {
      person.connect({ build: 'local/other' }).provider.ready();
      return;
    }
    case 'not challenged yet':
      person.connect();
      return;
    case 'not trusted': {
      const { provider } = person.connect();
      provider.ready();
      for (let wrong = 0; wrong < 3; wrong++) provider.passChallenge({ public_key: 'another' });
      return;
    }
    case 'paused':
      person.connect().provider.ready().beat({ status: 'draining' });
      return;
    case 'free': {
      const machine = person.connect();
      machine.provider.ready();
      void serve(machine);
      return;
    }
    case 'cold': {
      const machine = person.connect();
      machine.provider.ready().beat({ state: 'idle_shutdown' });
      void serve(machine);
      return;
    }
    case 'busy, line full':
      return fill(person);
    case 'failing': {
      const machine = person.connect();
      machine.provider.ready();
      void fail(machine);
      return;
    }
    case 'failing beside a free one': {
      const machine = person.connect();
      machine.provider.ready();
      void fail(machine);
      return bring(person, 'free');
    }
    default:
      own satisfies never;
  }
}

/** One row that is taken, and as many in line as may be. */
async function fill(person: Person): Promise<void> {
  const { provider } = person.connect({ rows: 1 });
  provider.ready();
  const token = person.key();
  const { signal } = (gone = new AbortController());
  const headers = { 'x-darkbloom-route': 'self' };
  for (let asked = 0; asked <= MAX_WAITING; asked++) {
    void stage
      .ask('POST', '/v1/chat/completions', { token, body: asks('long'), headers, signal })
      .catch(() => undefined);
  }
  (await provider.request()).accept();
  await eventually('the line is full', () => stage.coordinator.fleet.line.length === MAX_WAITING || undefined);
}
let gone: AbortController | undefined;
afterEach(async () => {
  if (gone === undefined) return;
  gone.abort();
  gone = undefined;
  await eventually('all have left', () => stage.coordinator.requestsRunning === 0 || undefined);
});

const ErrorBody = z.object({ error: z.object({ code: z.string() }) });

const told = (
  { header, onlySelf, own, fleet, balance, byBuild, answer, code = 'served' }: Row,
  index: number,
): string =>
  [
    `${index}: header ${header ?? 'none'}`,
    ...(onlySelf === true ? ['key for own machines'] : []),
    `own machine ${own}`,
    ...(fleet === true ? ['another free'] : []),
    ...(balance === undefined ? [] : [`balance ${balance}`]),
    byBuild === true ? 'by build' : 'by alias',
  ].join(', ') + ` → ${answer} ${code}`;

test.each(TABLE.map((row, index) => [told(row, index), row] as const))('%s', async (_, row) => {
  const me = new Person(row.balance);
  await bring(me, row.own);
  const host = new Person(0n);
  if (row.fleet === true) {
    const machine = host.connect({ open: true });
    machine.provider.ready();
    void serve(machine);
  }
  const before = me.balance;
  const { status, headers, json } = await stage.ask('POST', '/v1/chat/completions', {
    token: me.key(row.onlySelf),
    body: asks('Hi', row.byBuild === true ? BUILD : 'tiny'),
    headers: row.header === undefined ? {} : { 'x-darkbloom-route': row.header },
  });
  const code = status === 200 ? undefined : ErrorBody.parse(json).error.code;
  expect({ status, code }).toEqual({ status: row.answer, code: row.code });
  expect(headers.get('retry-after')).toBe(row.retryAfter ?? null);
  expect(headers.get('x-should-retry')).toBe(row.final === true ? 'false' : null);
  expect(headers.get('x-darkbloom-machine') !== null).toBe(row.servedBy === 'own');

  const usage = stage.usage(me.account.id)[0];
  expect(usage?.cost).toEqual(row.charged);
  expect(usage?.routeMode).toEqual(row.route);
  const earned = row.servedBy === 'own' ? (row.charged ?? 0n) : 0n;
  expect(me.balance).toBe(before - (row.charged ?? 0n) + earned);
  expect(host.balance).toBe(row.servedBy === 'other' ? PRICE : 0n);
  expect(auditBooks(stage.database).discrepancies).toEqual([]);
});

describe('a request that names a machine', () => {
  const MACHINE = 'x-darkbloom-machine';

  /** Two machines that serve, and what was asked of which. */
  function two() {
    const me = new Person();
    const machines = [me.connect(), me.connect()] as const;
    for (const machine of machines) {
      machine.provider.ready();
      void serve(machine);
    }
    return { me, machines };
  }
  const ask = (token: string, headers: Record<string, string>, extra: object = {}) =>
    stage.ask('POST', '/v1/chat/completions', { token, body: { ...asks('Hi'), ...extra }, headers });

  test.each([0, 1] as const)('by its header is served there and nowhere else: machine %i', async (index) => {
    const { me, machines } = two();
    for (let time = 0; time < 3; time++) {
      const { status, headers } = await ask(me.key(true), { [MACHINE]: machines[index].id });
      expect([status, headers.get(MACHINE)]).toEqual([200, machines[index].id]);
    }
    expect(machines.map(({ provider }) => provider.sentOf('inference_request').length)).toEqual(
      index === 0 ? [3, 0] : [0, 3],
    );
  });

  test('by a serial, or by several, is served there by any route', async () => {
    const { me, machines } = two();
    const [first, second] = machines;
    const other = new Person(0n).connect({ open: true });
    other.provider.ready();
    for (const extra of [
      { provider_serial: second.id },
      { provider_serials: [second.id, '', second.id] },
      { provider_serials: second.id },
    ]) {
      expect((await ask(me.key(), {}, extra)).headers.get(MACHINE)).toBe(second.id);
    }
    expect([first, other].map(({ provider }) => provider.sentOf('inference_request'))).toEqual([[], []]);
  });

  test('that is not connected is told so at once', async () => {
    const { me } = two();
    const offline = machineIdOf(me.link());
    for (const answer of [
      await ask(me.key(true), { [MACHINE]: offline }),
      await ask(me.key(), {}, { provider_serial: offline }),
    ]) {
      expect(answer).toMatchObject({ status: 503, json: { error: { code: 'machine_offline' } } });
      expect(answer.headers.get('x-should-retry')).toBe('false');
    }
    expect(me.balance).toBe(MONEY);
  });

  test("of another person hears the same as of one that does not exist, and which are the caller's own", async () => {
    const { me, machines } = two();
    const other = new Person().connect({ open: true });
    other.provider.ready();
    const answers = [
      await ask(me.key(true), { [MACHINE]: other.id }),
      await ask(me.key(true), { [MACHINE]: 'mach_nothing' }),
    ];
    expect(answers[0]?.json).toEqual(answers[1]?.json);
    expect(answers[0]).toMatchObject({
      status: 404,
      json: { error: { code: 'machine_not_found', param: 'X-Darkbloom-Machine' } },
    });
    for (const { id } of machines) expect(JSON.stringify(answers[0]?.json)).toContain(id);
  });

  test.each<[string, Record<string, string>, object, string]>([
    ['without the route self', { [MACHINE]: 'mach_1' }, {}, 'X-Darkbloom-Machine'],
    ['by the route prefer', { [MACHINE]: 'mach_1', 'x-darkbloom-route': 'prefer' }, {}, 'X-Darkbloom-Machine'],
    ['with two names', { [MACHINE]: 'mach_1, mach_2', 'x-darkbloom-route': 'self' }, {}, 'X-Darkbloom-Machine'],
    [
      'with a name of 257 characters',
      { [MACHINE]: 'm'.repeat(257), 'x-darkbloom-route': 'self' },
      {},
      'X-Darkbloom-Machine',
    ],
    ['with no name', { [MACHINE]: '', 'x-darkbloom-route': 'self' }, {}, 'X-Darkbloom-Machine'],
    ['with a number as serial', {}, { provider_serial: 7 }, 'provider_serial'],
    ['with no serial left', {}, { provider_serials: ['', ' '] }, 'provider_serials'],
    ['with a serial that is an object', {}, { provider_serials: [{}] }, 'provider_serials'],
    ['with 101 serials', {}, { provider_serials: Array.from({ length: 101 }, String) }, 'provider_serials'],
  ])('%s is refused by name', async (_, headers, extra, param) => {
    const { status, json } = await ask(new Person().key(), headers, extra);
    expect({ status, json }).toMatchObject({ status: 400, json: { error: { type: 'invalid_request_error', param } } });
  });
});

test('a model outside the catalogue is served to its owner by self alone', async () => {
  const me = new Person();
  const machine = me.connect({ build: 'mine/only' });
  machine.provider.ready();
  void serve(machine);
  const ask = (route: string) =>
    stage.ask('POST', '/v1/chat/completions', {
      token: me.key(),
      body: asks('Hi', 'mine/only'),
      headers: { 'x-darkbloom-route': route },
    });
  expect((await ask('self')).status).toBe(200);
  expect(await ask('none')).toMatchObject({ status: 404, json: { error: { code: 'model_not_found' } } });
});

test.each([
  { selfRouteDefault: 'self', cost: 0n, routeMode: 'self' },
  { selfRouteDefault: 'none', cost: PRICE, routeMode: 'none' },
] as const)(
  "with self_route_default = $selfRouteDefault the owner's request without a header goes by $routeMode; a guest's does not",
  async ({ selfRouteDefault, cost, routeMode }) => {
    await using own = await StartedCoordinator.start({ selfRouteDefault, models: [knownModel(BUILD)] });
    const { coordinator, ownerToken, clock } = own;
    const { owner, ledger, fleet, accounts: all } = coordinator;
    const guest = all.add('guest', { acceptUnattested: true });
    for (const { id } of [owner, guest]) ledger.credit(id, MONEY, 'test');
    const id = machineIdOf(all.mintProviderToken(owner.id, 'test'));
    const register = { private_only: false };
    const provider = new ScriptedProvider({ clock, accountId: owner.id, machineId: id, register, rows: 4 }).ready();
    fleet.add(provider.session);
    void serve({ provider, id });
    for (const token of [ownerToken, all.keys.create(guest.id, {}).secret]) {
      expect((await own.ask('POST', '/v1/chat/completions', { token, body: asks('Hi') })).status).toBe(200);
    }
    expect(own.usage(owner.id)[0]).toMatchObject({ cost, routeMode });
    expect(own.usage(guest.id)[0]).toMatchObject({ cost: PRICE, routeMode: 'none' });
  },
);

describe('of two machines', () => {
  const LONG = 'a long conversation so far, '.repeat(100);
  const ask = async (me: Person, content: string, extra: object = {}) => {
    const body = { ...asks(content), ...extra };
    const { status, headers } = await stage.ask('POST', '/v1/chat/completions', {
      token: me.key(true),
      body,
    });
    return status === 200 ? headers.get('x-darkbloom-machine') : status;
  };

  test('the one that has read the beginning of a conversation gets its next turn', async () => {
    const me = new Person();
    const machines = [me.connect(), me.connect()];
    for (const machine of machines) {
      machine.provider.ready();
      void serve(machine);
    }
    const [first, second] = machines.map(({ id }) => id);
    expect(await ask(me, 'something else')).toBe(first);
    expect(await ask(me, LONG, { provider_serial: second })).toBe(second);
    expect(await ask(me, `${LONG} and one more question`)).toBe(second);
  });

  test('one whose answers failed twice is not asked a third time', async () => {
    const me = new Person();
    const [failing, good] = [me.connect(), me.connect()];
    failing.provider.ready();
    good.provider.ready().beat({ observed_prefill_tps: 1, observed_decode_tps: 1 }); // the other one looks far better
    void serve(good);
    void (async () => {
      for (;;) (await failing.provider.request()).fail(500, 'engine fault');
    })();
    for (let time = 0; time < 4; time++) expect(await ask(me, 'Hi')).toBe(good.id);
    expect(failing.provider.sentOf('inference_request')).toHaveLength(2);
  });
});
