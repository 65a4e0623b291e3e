import { setImmediate as nextTurn } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import type { Account } from '../../src/coordinator/accounts.js';
import { auditBooks } from '../../src/coordinator/audit.js';
import { FALLBACK_PRICE } from '../../src/coordinator/billing.js';
import { Fleet } from '../../src/coordinator/fleet.js';
import { Ledger } from '../../src/coordinator/ledger.js';
import { relay } from '../../src/coordinator/relay.js';
import { eligible } from '../../src/coordinator/routing.js';
import { DarkbloomError } from '../../src/errors.js';
import type { ChatEvent } from '../../src/inference/types.js';
import { CHUNK_BUFFER } from '../../src/protocol/limits.js';
import { ManualClock } from '../support/manual-clock.js';
import { BUILD, ScriptedProvider } from './scripted-provider.js';
import { temporaryDatabase } from './temporary-database.js';

const ME: Account = { id: 'acct_me', name: 'me', isOwner: false, acceptUnattested: true };
const HOST = 'acct_host';
const MONEY = 1_000_000n;
const HOLD = 1_000n;
const USAGE = { prompt_tokens: 4_000, completion_tokens: 1_000 };
const COST = 400n;

interface Ending {
  events: ChatEvent[];
  error?: DarkbloomError;
}

interface AskOptions {
  promptTokens?: number;
  ownMachinesOnly?: boolean;
  /** Until then the consumer reads no further than the first text. */
  resumed?: Promise<void>;
}

/** A fleet of machines that the test plays, and real books. */
class Stage implements Disposable {
  readonly clock = new ManualClock();
  readonly fleet = new Fleet(this.clock);
  readonly #books = temporaryDatabase();
  readonly ledger = new Ledger(this.#books.database, this.clock);
  #asked = 0;
  /** Requests that have ended. */
  ended = 0;

  constructor() {
    this.ledger.credit(ME.id, MONEY, 'test');
  }

  machine(rows = 4): ScriptedProvider {
    const { clock, fleet } = this;
    const changed = () => fleet.changed();
    const register = { private_only: false };
    const provider = new ScriptedProvider({ clock, accountId: HOST, changed, register, rows }).ready();
    fleet.add(provider.session);
    return provider;
  }

  get discrepancies() {
    return auditBooks(this.#books.path).discrepancies;
  }

  get balance(): bigint {
    return this.ledger.balance(ME.id).balance;
  }

  /** What moved on the account beside the credit, oldest first: kind, amount, reference. */
  get moves(): string[] {
    const rows = this.ledger.rows(ME.id).slice(1);
    return rows.map(({ kind, amount, reference }) => `${kind} ${amount} ${reference.replace(ME.id, 'me')}`);
  }

  ask({ promptTokens = 0, ownMachinesOnly = false, resumed }: AskOptions = {}): Asked {
    const { ledger, fleet, clock } = this;
    const requestId = `request-${++this.#asked}`;
    const leaving = new AbortController();
    ledger.hold({ requestId, accountId: ME.id, amount: HOLD });
    const asked = new Asked(requestId, leaving);
    const events = relay(
      {
        accountId: ME.id,
        lane: BUILD,
        model: 'tiny',
        shape: 'plain',
        beginnings: [],
        tokens: promptTokens,
        promptTokens,
        ownMachinesOnly,
        candidates: () =>
          eligible(fleet.machines, { account: ME, mode: 'none', builds: [{ id: BUILD }], now: clock.now() }),
        refusal: () => new DarkbloomError('model_unavailable', 'no machine'),
        bodyFor: ({ build }) => ({ model: build }),
        serving: ({ machine }) => asked.servedBy.push(machine.id),
        settle: ({ machine, build }, usage) => {
          const settlement = ledger.settle({
            requestId,
            accountId: ME.id,
            alias: 'tiny',
            build,
            providerId: machine.id,
            providerAccountId: HOST,
            price: FALLBACK_PRICE,
            routeMode: 'none',
            ...usage,
          });
          if (settlement !== undefined) asked.effects.push('settled');
        },
        refund: (reason) => {
          if (ledger.refund(requestId, reason)) asked.effects.push(reason);
        },
        ended: () => void this.ended++,
      },
      { fleet, clock },
      leaving.signal,
    );
    asked.read(events, resumed);
    return asked;
  }

  [Symbol.dispose](): void {
    this.#books[Symbol.dispose]();
  }
}

/** One consumer and what it got. */
class Asked {
  readonly requestId: string;
  readonly servedBy: string[] = [];
  /** What had an effect on the books: the first of settle and refund. */
  readonly effects: string[] = [];
  readonly seen: ChatEvent[] = [];
  readonly #leaving: AbortController;
  readonly #waiting: (() => void)[] = [];
  #ending: Promise<Ending> | undefined;

  constructor(requestId: string, leaving: AbortController) {
    this.requestId = requestId;
    this.#leaving = leaving;
  }

  /** Reads to the end; until `resumed`, no further than the first text. */
  read(events: AsyncGenerator<ChatEvent>, resumed: Promise<void> | undefined): void {
    this.#ending = this.#readAll(events, resumed);
  }

  async #readAll(events: AsyncGenerator<ChatEvent>, resumed: Promise<void> | undefined): Promise<Ending> {
    try {
      for await (const event of events) {
        this.seen.push(event);
        for (const wake of this.#waiting.splice(0)) wake();
        if (event.type === 'text') await resumed;
      }
      return { events: this.seen };
    } catch (error) {
      if (error instanceof DarkbloomError) return { events: this.seen, error };
      throw error;
    }
  }

  leave(): void {
    this.#leaving.abort();
  }

  async untilText(): Promise<void> {
    while (!this.seen.some(({ type }) => type === 'text')) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  async ending(): Promise<Ending> {
    if (this.#ending === undefined) throw new Error('Nobody reads.');
    return this.#ending;
  }
}

const done = (completionTokens = 1_000): ChatEvent => ({
  type: 'done',
  finishReason: 'stop',
  stopSequence: null,
  usage: { promptTokens: 4_000, completionTokens },
});
const cancelled = (promptTokens = 0, completionTokens = 0): ChatEvent => ({
  type: 'cancelled',
  usage: { promptTokens, completionTokens },
});

describe('a request that is answered', () => {
  test('passes on what is written, and is settled once', async () => {
    using stage = new Stage();
    const machine = stage.machine();
    const asked = stage.ask();
    const request = await machine.request();
    expect(request.body).toEqual({ model: BUILD });
    request.accept();
    request.begin(4_000);
    request.write('Hel');
    request.write('lo');
    request.finish('length');
    request.complete(USAGE, 'END');
    expect(await asked.ending()).toEqual({
      events: [
        { type: 'started', promptTokens: 4_000 },
        { type: 'text', text: 'Hel' },
        { type: 'text', text: 'lo' },
        { ...done(), finishReason: 'length', stopSequence: 'END' },
      ],
    });
    expect(asked.effects).toEqual(['settled']);
    expect(asked.servedBy).toEqual([machine.session.id]);
    expect(stage.balance).toBe(MONEY - COST);
    expect(stage.ledger.balance(HOST).balance).toBe(COST);
    expect(machine.cancelled).toEqual([]);
    expect([stage.clock.pending, stage.ended]).toEqual([0, 1]);
  });

  test('passes on what was in the cache, and believes no more than the whole prompt', async () => {
    using stage = new Stage();
    const machine = stage.machine();
    const asked = stage.ask();
    const request = await machine.request();
    request.begin(4_000, 9_000);
    request.write('Hello');
    request.complete(USAGE);
    const { events } = await asked.ending();
    expect(events[0]).toEqual({ type: 'started', promptTokens: 4_000, cachedTokens: 4_000 });
    expect(events.at(-1)).toMatchObject({ type: 'done', usage: { promptTokens: 4_000, cachedTokens: 4_000 } });
    expect(stage.balance).toBe(MONEY - COST);
  });

  test('without a word is complete all the same', async () => {
    using stage = new Stage();
    const machine = stage.machine();
    const asked = stage.ask();
    const request = await machine.request();
    request.complete({ prompt_tokens: 4_000, completion_tokens: 0 });
    expect(await asked.ending()).toEqual({ events: [{ type: 'started', promptTokens: 4_000 }, done(0)] });
    expect([asked.effects, asked.servedBy]).toEqual([['settled'], [machine.session.id]]);
  });
});

describe('a machine that fails before any content', () => {
  test('is not noticed where another one answers: one settlement, no refund', async () => {
    using stage = new Stage();
    const [first, second] = [stage.machine(), stage.machine()];
    second.beat({ running: 1 }); // so that the other one is asked first
    const asked = stage.ask();
    const refused = await first.request();
    refused.accept();
    refused.begin();
    refused.fail(503, 'no memory');
    const request = await second.request();
    expect(request.id).not.toBe(refused.id);
    request.write('Hello');
    request.complete(USAGE);
    const { events, error } = await asked.ending();
    expect(error).toBeUndefined();
    expect(events).toEqual([{ type: 'started', promptTokens: 0 }, { type: 'text', text: 'Hello' }, done()]);
    expect([asked.effects, asked.servedBy]).toEqual([['settled'], [second.session.id]]);
    expect(stage.moves).toEqual(['charge -1000 reserve:me', `refund ${HOLD - COST} request-1`]);
    expect(stage.ended).toBe(1);
  });

  test('is not asked again, and its error is told where no other is left', async () => {
    using stage = new Stage();
    const machine = stage.machine();
    const asked = stage.ask();
    (await machine.request()).fail(503, 'no memory');
    const { events, error } = await asked.ending();
    expect(events).toEqual([]);
    expect(error).toMatchObject({ code: 'provider_error', status: 503, message: 'no memory' });
    expect(machine.sentOf('inference_request')).toHaveLength(1);
    expect([asked.effects, stage.balance]).toEqual([['provider_error'], MONEY]);
  });

  test('is followed by two others at most, without waiting for a fourth that is busy', async () => {
    using stage = new Stage();
    const machines = [stage.machine(), stage.machine(), stage.machine()];
    const busy = stage.machine(1);
    busy.beat({ rows: 1, running: 1 });
    const asked = stage.ask();
    for (const machine of machines) (await machine.request()).fail(500, 'engine fault');
    expect((await asked.ending()).error).toMatchObject({ code: 'provider_error', status: 500 });
    expect(busy.sentOf('inference_request')).toEqual([]);
    expect(asked.effects).toEqual(['provider_error']);
    expect(stage.clock.pending).toBe(0);
  });

  test.each([
    { status: 400, error: 'roles must alternate', reason: undefined, code: 'invalid_request' },
    { status: 400, error: 'too long', reason: 'request_exceeds_context', code: 'context_length_exceeded' },
    { status: 413, error: 'too large', reason: undefined, code: 'provider_error' },
    { status: 422, error: 'no such structure', reason: undefined, code: 'unprocessable' },
    { status: 499, error: 'request cancelled', reason: 'cancelled', code: 'cancelled' },
  ])('with $status $error says what every machine would say', async ({ status, error, reason, code }) => {
    using stage = new Stage();
    const [first, second] = [stage.machine(), stage.machine()];
    second.beat({ running: 1 });
    const asked = stage.ask();
    (await first.request()).fail(status, error, reason);
    expect((await asked.ending()).error).toMatchObject({ code, message: error, status });
    expect(second.sentOf('inference_request')).toEqual([]);
    expect([asked.effects, stage.balance]).toEqual([['provider_error'], MONEY]);
  });

  test.each([
    ["'messages': the roles must alternate.", 'messages'],
    ["'tools.0.function.parameters.properties.it's': is not supported.", 'tools'],
    ["'local/model' is for something else.", undefined],
    ['The roles must alternate.', undefined],
  ])('%s is an error of %s', async (message, param) => {
    using stage = new Stage();
    const machine = stage.machine();
    const asked = stage.ask();
    (await machine.request()).fail(400, message);
    expect((await asked.ending()).error).toMatchObject({ code: 'invalid_request', message, param });
  });

  test.each([404, 429, 500, 501, 502, 503])('with %i may be answered by another machine', async (status) => {
    using stage = new Stage();
    const [first, second] = [stage.machine(), stage.machine()];
    second.beat({ running: 1 });
    const asked = stage.ask();
    (await first.request()).fail(status);
    (await second.request()).complete(USAGE);
    expect((await asked.ending()).events.at(-1)).toEqual(done());
  });

  test('because it went away is followed by another one', async () => {
    using stage = new Stage();
    const [first, second] = [stage.machine(), stage.machine()];
    second.beat({ running: 1 });
    const asked = stage.ask();
    await first.request();
    stage.fleet.remove(first.session);
    (await second.request()).complete(USAGE);
    expect((await asked.ending()).events.at(-1)).toEqual(done());
    expect(asked.effects).toEqual(['settled']);
  });
});

describe('a machine that fails after content', () => {
  test('ends the request: what was written is free, once', async () => {
    using stage = new Stage();
    const [first, second] = [stage.machine(), stage.machine()];
    second.beat({ running: 1 });
    const asked = stage.ask();
    const request = await first.request();
    request.write('Hel');
    await asked.untilText();
    request.fail(503, 'the process that ran the model ended');
    const { events, error } = await asked.ending();
    expect(events).toEqual([
      { type: 'started', promptTokens: 0 },
      { type: 'text', text: 'Hel' },
    ]);
    expect(error).toMatchObject({ code: 'provider_error', status: 503 });
    expect(second.sentOf('inference_request')).toEqual([]);
    expect([asked.effects, stage.balance]).toEqual([['provider_error'], MONEY]);
    expect(stage.moves).toEqual(['charge -1000 reserve:me', 'refund 1000 provider_error:request-1']);
  });

  test('because it went away costs nothing either, and is told as 502', async () => {
    using stage = new Stage();
    const machine = stage.machine();
    const asked = stage.ask();
    (await machine.request()).write('Hel');
    await asked.untilText();
    stage.fleet.remove(machine.session);
    expect((await asked.ending()).error).toMatchObject({ code: 'provider_error', status: 502 });
    expect([asked.effects, stage.balance]).toEqual([['provider_incomplete'], MONEY]);
  });
});

describe('time', () => {
  test('to accept is 5 seconds and a millisecond for each estimated token; then another machine is asked', async () => {
    using stage = new Stage();
    const [first, second] = [stage.machine(), stage.machine()];
    second.beat({ running: 1 });
    const asked = stage.ask({ promptTokens: 2_000 });
    const silent = await first.request();
    await nextTurn();
    stage.clock.turn(6_999);
    await nextTurn();
    expect(first.cancelled).toEqual([]);
    stage.clock.turn(1);
    const request = await second.request();
    expect(first.cancelled).toEqual([silent.id]);
    request.complete(USAGE);
    expect((await asked.ending()).events.at(-1)).toEqual(done());
    expect(asked.effects).toEqual(['settled']);
  });

  test('to accept that runs out on the only machine is told as 504', async () => {
    using stage = new Stage();
    const machine = stage.machine();
    const asked = stage.ask();
    const silent = await machine.request();
    await nextTurn();
    stage.clock.turn(5_000);
    expect((await asked.ending()).error).toMatchObject({ code: 'timeout', status: 504 });
    expect(machine.cancelled).toEqual([silent.id]);
    expect([asked.effects, stage.balance]).toEqual([['provider_timeout'], MONEY]);
  });

  test('to the first content is 600 seconds once it has accepted, for a model may have to load', async () => {
    using stage = new Stage();
    const machine = stage.machine();
    const asked = stage.ask();
    const request = await machine.request();
    stage.clock.turn(4_999);
    request.accept();
    await nextTurn();
    stage.clock.turn(599_999);
    await nextTurn();
    expect([machine.cancelled, asked.effects]).toEqual([[], []]);
    stage.clock.turn(1);
    expect((await asked.ending()).error).toMatchObject({ code: 'timeout', status: 504 });
    expect(machine.cancelled).toEqual([request.id]);
    expect([asked.effects, stage.balance]).toEqual([['provider_timeout'], MONEY]);
  });

  test('between two chunks is 600 seconds', async () => {
    using stage = new Stage();
    const machine = stage.machine();
    const asked = stage.ask();
    const request = await machine.request();
    request.write('Hel');
    await asked.untilText();
    stage.clock.turn(599_999);
    request.write('lo');
    await nextTurn();
    stage.clock.turn(599_999);
    await nextTurn();
    expect(machine.cancelled).toEqual([]);
    stage.clock.turn(1);
    const { events, error } = await asked.ending();
    expect(events.at(-1)).toEqual({ type: 'text', text: 'lo' });
    expect(error).toMatchObject({ code: 'timeout' });
    expect(machine.cancelled).toEqual([request.id]);
    expect([asked.effects, stage.balance]).toEqual([['provider_timeout'], MONEY]);
  });

  test('for the whole answer is two hours, however often something comes', async () => {
    using stage = new Stage();
    const machine = stage.machine();
    const asked = stage.ask();
    const request = await machine.request();
    for (let passed = 0; passed < 2 * 3_600_000 - 1; passed += 599_999) {
      request.write('x');
      await asked.untilText();
      await nextTurn();
      expect(asked.effects).toEqual([]);
      stage.clock.turn(Math.min(599_999, 2 * 3_600_000 - 1 - passed));
    }
    request.write('x');
    await nextTurn();
    expect([machine.cancelled, asked.effects]).toEqual([[], []]);
    stage.clock.turn(1);
    const { error } = await asked.ending();
    expect(error).toMatchObject({ code: 'timeout', message: 'The answer was not complete after 2 hours.' });
    expect(machine.cancelled).toEqual([request.id]);
    expect([asked.effects, stage.balance, stage.clock.pending]).toEqual([['provider_timeout'], MONEY, 0]);
  });
});

describe('a client that leaves', () => {
  test.each(['sent', 'accepted', 'begun'])(
    'when its request is %s pays nothing, and the machine is told to stop',
    async (phase) => {
      using stage = new Stage();
      const machine = stage.machine();
      const asked = stage.ask();
      const request = await machine.request();
      if (phase !== 'sent') request.accept();
      if (phase === 'begun') request.begin(11);
      await nextTurn();
      asked.leave();
      expect(await asked.ending()).toEqual({ events: [cancelled()] });
      expect(machine.cancelled).toEqual([request.id]);
      expect([asked.effects, stage.balance]).toEqual([['reservation_refund'], MONEY]);
      expect([stage.clock.pending, stage.ended]).toEqual([0, 1]);
      request.complete(USAGE);
      expect(stage.balance).toBe(MONEY);
    },
  );

  /** In the middle of its answer. */
  async function leaving(stage: Stage) {
    const machine = stage.machine();
    const asked = stage.ask();
    const request = await machine.request();
    request.write('Hel');
    await asked.untilText();
    asked.leave();
    await nextTurn();
    expect([machine.cancelled, asked.effects]).toEqual([[request.id], []]);
    return { machine, asked, request };
  }

  test('in mid-stream pays for the true tokens if they are told within 30 seconds', async () => {
    using stage = new Stage();
    const { asked, request, machine } = await leaving(stage);
    request.write('lo');
    stage.clock.turn(29_999);
    request.complete(USAGE);
    const { events } = await asked.ending();
    expect(events.at(-1)).toEqual(cancelled(4_000, 1_000));
    expect(events.filter(({ type }) => type === 'text')).toHaveLength(1);
    expect([asked.effects, stage.balance]).toEqual([['settled'], MONEY - COST]);
    expect(machine.cancelled).toEqual([request.id]);
    expect([stage.clock.pending, stage.ended]).toEqual([0, 1]);
  });

  test('in mid-stream pays nothing if the machine then fails', async () => {
    using stage = new Stage();
    const { asked, request } = await leaving(stage);
    request.fail(500);
    expect((await asked.ending()).events.at(-1)).toEqual(cancelled());
    expect([asked.effects, stage.balance]).toEqual([['provider_error_after_disconnect'], MONEY]);
  });

  test('in mid-stream pays nothing if the machine goes on writing for 30 seconds', async () => {
    using stage = new Stage();
    const { asked, request } = await leaving(stage);
    stage.clock.turn(29_999);
    request.write('lo');
    await nextTurn();
    stage.clock.turn(1);
    expect((await asked.ending()).events.at(-1)).toEqual(cancelled());
    expect([asked.effects, stage.balance]).toEqual([['no_terminal_after_cancel'], MONEY]);
    request.complete(USAGE);
    expect(stage.balance).toBe(MONEY);
    expect(stage.ledger.usageOf(asked.requestId)).toBeUndefined();
  });

  test('in the moment in which its request is sent is heard', async () => {
    using stage = new Stage();
    const machine = stage.machine();
    const asked = stage.ask();
    expect(machine.sentOf('inference_request')).toHaveLength(1);
    asked.leave();
    expect(await asked.ending()).toEqual({ events: [cancelled()] });
    expect(machine.cancelled).toEqual([(await machine.request()).id]);
    expect([asked.effects, stage.clock.pending]).toEqual([['reservation_refund'], 0]);
  });

  test('when it is as far behind as it may be is heard all the same', async () => {
    using stage = new Stage();
    const machine = stage.machine();
    let resume: () => void = () => undefined;
    const asked = stage.ask({ resumed: new Promise((resolve) => (resume = resolve)) });
    const request = await machine.request();
    for (let chunk = 0; chunk <= CHUNK_BUFFER; chunk++) {
      request.write('x');
      if (chunk === 0) await asked.untilText();
    }
    asked.leave();
    resume();
    await nextTurn();
    expect(machine.cancelled).toEqual([request.id]);
    request.complete(USAGE);
    expect((await asked.ending()).events.at(-1)).toEqual(cancelled(4_000, 1_000));
    expect(asked.effects).toEqual(['settled']);
  });

  test('while it waits in line gives up its place', async () => {
    using stage = new Stage();
    const machine = stage.machine(1);
    const first = stage.ask();
    const request = await machine.request();
    const second = stage.ask();
    await nextTurn();
    second.leave();
    expect(await second.ending()).toEqual({ events: [cancelled()] });
    expect([second.effects, stage.clock.pending]).toEqual([['reservation_refund'], 1]);
    request.complete(USAGE);
    await first.ending();
    expect(machine.sentOf('inference_request')).toHaveLength(1);
  });
});

describe('the waiting line', () => {
  test('does not form where no machine may serve: the request is refused and gets its money back', async () => {
    using stage = new Stage();
    const asked = stage.ask();
    expect((await asked.ending()).error).toMatchObject({ code: 'model_unavailable' });
    expect([asked.effects, stage.balance]).toEqual([['reservation_refund'], MONEY]);
    expect([stage.clock.pending, stage.ended]).toEqual([0, 1]);
  });

  /** One machine with one row, which is taken. */
  async function busy(stage: Stage) {
    const machine = stage.machine(1);
    const running = stage.ask();
    return { machine, running, request: await machine.request() };
  }

  test('holds ten; the eleventh is told when to come back', async () => {
    using stage = new Stage();
    await busy(stage);
    const waiting = Array.from({ length: 10 }, () => stage.ask());
    await nextTurn();
    const { error } = await stage.ask().ending();
    expect(error).toMatchObject({ code: 'over_capacity', status: 429, retryAfterS: 30 });
    expect(waiting.map(({ effects }) => effects)).toEqual(waiting.map(() => []));
    waiting[0]?.leave();
    await waiting[0]?.ending();
    const next = stage.ask();
    await nextTurn();
    expect(next.effects).toEqual([]);
  });

  test('for own machines alone is told of as a busy machine', async () => {
    using stage = new Stage();
    await busy(stage);
    for (let waiting = 0; waiting < 10; waiting++) stage.ask();
    await nextTurn();
    const { error } = await stage.ask({ ownMachinesOnly: true }).ending();
    expect(error).toMatchObject({ code: 'machine_busy', status: 429, retryAfterS: 30 });
  });

  test('lasts 120 seconds at most', async () => {
    using stage = new Stage();
    const { request, running } = await busy(stage);
    request.accept();
    const asked = stage.ask();
    await nextTurn();
    stage.clock.turn(119_999);
    await nextTurn();
    expect(asked.effects).toEqual([]);
    stage.clock.turn(1);
    expect((await asked.ending()).error).toMatchObject({ code: 'over_capacity', status: 429, retryAfterS: 2 });
    expect([asked.effects, running.effects]).toEqual([['reservation_refund'], []]);
  });

  test('moves by one when one row becomes free, the first come first', async () => {
    using stage = new Stage();
    const { machine, request } = await busy(stage);
    const [second, third] = [stage.ask(), stage.ask()];
    await nextTurn();
    request.complete(USAGE);
    const next = await machine.request();
    await nextTurn();
    expect(machine.sentOf('inference_request')).toHaveLength(2);
    next.complete(USAGE);
    expect((await second.ending()).events.at(-1)).toEqual(done());
    expect(third.seen).toEqual([]);
    (await machine.request()).complete(USAGE);
    expect((await third.ending()).events.at(-1)).toEqual(done());
    expect(stage.ended).toBe(3);
  });

  test('ends when another machine comes', async () => {
    using stage = new Stage();
    await busy(stage);
    const waiting = stage.ask();
    await nextTurn();
    const other = stage.machine();
    (await other.request()).complete(USAGE);
    expect((await waiting.ending()).events.at(-1)).toEqual(done());
  });

  test('ends with a refusal when the last machine goes', async () => {
    using stage = new Stage();
    const { machine, running } = await busy(stage);
    const waiting = stage.ask();
    await nextTurn();
    stage.fleet.remove(machine.session);
    expect((await waiting.ending()).error).toMatchObject({ code: 'model_unavailable' });
    expect((await running.ending()).error).toMatchObject({ code: 'provider_error', status: 502 });
    expect(stage.balance).toBe(MONEY);
    expect(stage.clock.pending).toBe(0);
  });

  test('is not needed by requests that come at once for the last rows: each row is given once', async () => {
    using stage = new Stage();
    const machine = stage.machine(2);
    const asked = [stage.ask(), stage.ask(), stage.ask()];
    await nextTurn();
    expect(machine.sentOf('inference_request')).toHaveLength(2);
    for (let served = 0; served < 3; served++) (await machine.request()).complete(USAGE);
    await Promise.all(asked.map((each) => each.ending()));
    expect(stage.balance).toBe(MONEY - 3n * COST);
  });
});

test('a client that leaves in the very moment of the completion has paid or has its money back, never both', async () => {
  for (const leavesFirst of [true, false]) {
    using stage = new Stage();
    const machine = stage.machine();
    const asked = stage.ask();
    const request = await machine.request();
    request.write('Hel');
    await asked.untilText();
    if (leavesFirst) asked.leave();
    request.complete(USAGE);
    if (!leavesFirst) asked.leave();
    await asked.ending();
    expect(asked.effects).toEqual(['settled']);
    expect([stage.balance, stage.discrepancies]).toEqual([MONEY - COST, []]);
  }
});
