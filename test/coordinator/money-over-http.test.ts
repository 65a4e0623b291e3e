import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { PLATFORM_ACCOUNT } from '../../src/coordinator/billing.js';
import type { FakeRequest, Play } from '../support/fake-machine.js';
import { RecordedLog } from '../support/recorded-log.js';
import { vectors } from './billing-vectors.js';
import { ALIAS, Answered, boundFor, BUILD, PaidHouse, Refused } from './paid-house.js';

/** The billing vectors, each played by a client and a machine over real sockets against the real ledger. */

const PLENTY = 1_000_000_000_000n;
const CONTENT_TIMEOUT_MS = 600_000;
const SETTLE_GRACE_MS = 30_000;

const answering =
  (prompt_tokens: number, completion_tokens: number): Play =>
  (request) => {
    request.accept();
    request.write('x');
    request.complete({ prompt_tokens, completion_tokens });
  };

/** Something that a test waits for. */
function awaited() {
  let finish: () => void = () => undefined;
  const done = new Promise<void>((resolve) => (finish = resolve));
  return { done, finish };
}

/** Cost and tokens of the consumer's only request, as its usage page says. */
async function usageOf(house: PaidHouse) {
  const { json } = await house.started.call('GET', '/v1/payments/usage', { token: house.consumer.key });
  const Row = z.object({
    job_id: z.string(),
    cost_micro_usd: z.number().transform(BigInt),
    prompt_tokens: z.number(),
    completion_tokens: z.number(),
    free_self_route: z.boolean(),
  });
  return z.object({ usage: z.array(Row).max(1) }).parse(json).usage[0];
}

describe('cost', () => {
  test.each(vectors.cost.filter((vector) => !vector.in.service_account))('$id', async ({ in: input, out }) => {
    await using house = await PaidHouse.open();
    house.ledger.credit(house.consumer.id, PLENTY, 'test');
    house.setPrice({ input: input.input_price, output: input.output_price });
    await house.machineOf('stranger', answering(input.prompt_tokens, input.completion_tokens));
    const answer = await house.ask({ max_tokens: input.prompt_tokens + input.completion_tokens + 1 });
    expect(Answered.parse(await answer.json()).usage).toMatchObject({
      prompt_tokens: input.prompt_tokens,
      completion_tokens: input.completion_tokens,
    });
    expect((await usageOf(house))?.cost_micro_usd).toBe(out.cost);
    expect(house.ledger.balance(house.consumer.id).balance).toBe(PLENTY - out.cost);
    expect(house.ledger.balance(house.stranger.id)).toEqual({ balance: out.cost, withdrawable: out.cost });
    expect(house.audit().discrepancies).toEqual([]);
  });
});

// A request costs at least 100, so a smaller cost never reaches the fee.
describe('fee', () => {
  test.each(vectors.fee.filter((vector) => vector.in.cost >= 100n))('$id', async ({ in: input, out }) => {
    await using house = await PaidHouse.open({ feePercent: input.fee_percent_override ?? 0 });
    house.ledger.credit(house.consumer.id, PLENTY, 'test');
    house.setPrice({ input: 1n, output: 1_000_000n });
    await house.machineOf('stranger', answering(0, Number(input.cost)));
    expect((await house.ask({ max_tokens: 1_000 })).status).toBe(200);
    expect(house.ledger.balance(PLATFORM_ACCOUNT).balance).toBe(out.platform_fee);
    expect(house.ledger.balance(house.stranger.id).balance).toBe(out.provider_payout);
    expect(house.audit().discrepancies).toEqual([]);
  });
});

/** What was held for a request that no machine could take. */
async function heldFor(house: PaidHouse, body: object): Promise<bigint> {
  house.ledger.credit(house.consumer.id, PLENTY, 'test');
  expect((await house.ask(body)).status).toBe(503);
  const [hold, back] = house.moves(1);
  expect(back?.amount).toBe(-(hold?.amount ?? 0n));
  return -(hold?.amount ?? 0n);
}

// `completions-prompt` is no chat request; tools are read by the model, so here they count.
const asChat = vectors.reservation.filter(({ in: { body }, id }) => 'messages' in body && id !== 'tools-not-counted');

describe('reservation', () => {
  test.each(asChat)('$id', async ({ in: input, out }) => {
    await using house = await PaidHouse.open();
    house.setPrice({ input: input.input_price, output: input.output_price });
    expect(await heldFor(house, { ...input.body, model: ALIAS })).toBe(out.reservation);
  });

  test('counts the system text of an Anthropic request as well', async () => {
    await using house = await PaidHouse.open();
    house.setPrice({ input: 10_000_000n, output: 1n });
    const plain = await heldFor(house, { max_tokens: 1 });
    const { secret } = house.started.coordinator.accounts.keys.create(house.consumer.id, {});
    const body = { model: ALIAS, max_tokens: 1, system: 'être', messages: [{ role: 'user', content: 'Hello!' }] };
    const known = house.ledger.rows(house.consumer.id).length;
    expect((await house.started.call('POST', '/v1/messages', { token: secret, body })).status).toBe(503);
    expect(-(house.moves(known)[0]?.amount ?? 0n)).toBeGreaterThanOrEqual(plain + 50n);
  });
});

// An explicit 0 is refused before any money moves.
const positive = vectors.output_bound.filter((vector) => vector.in['max_tokens'] !== 0);

describe('the output bound is what is held for', () => {
  test.each(positive)('$in, registry $registry_max_output_length', async (vector) => {
    await using house = await PaidHouse.open({ maxOutputLength: vector.registry_max_output_length ?? 0 });
    house.setPrice({ input: 1n, output: 1_000_000_000n });
    expect(await heldFor(house, vector.in)).toBe(BigInt(vector.out) * 1_000n);
  });
});

// With `self` alone a request never reaches a machine of somebody else; the ledger's own tests have those vectors.
const playable = vectors.settlement.filter(
  (vector) => vector.in.route_mode !== 'self' || vector.in.served_by === 'owned',
);

describe('settlement', () => {
  test.each(playable)('$id', async ({ in: input, out }) => {
    await using house = await PaidHouse.open({ feePercent: input.fee_percent_override ?? 0 });
    const { ledger, consumer } = house;
    const price = { input: input.input_price, output: input.output_price };
    house.setPrice(price);
    earn(house, input.withdrawable);
    const given = input.balance - input.withdrawable;
    if (given > 0n) ledger.credit(consumer.id, given, 'test');
    const known = ledger.rows(consumer.id).length;
    const owner = input.served_by === 'owned' ? 'consumer' : 'stranger';
    const usage = { prompt_tokens: input.prompt_tokens, completion_tokens: input.completion_tokens };
    const bound = input.reservation === 0n ? {} : { max_tokens: boundFor(input.reservation, price) };

    const failure = await play(house, owner, input, usage, bound);
    if (out.http_status !== null) expect(failure?.status ?? 200).toBe(out.http_status);
    if (out.error_type !== undefined) expect(failure).toMatchObject({ type: out.error_type, code: out.error_code });

    const row = await usageOf(house);
    expect(
      row === undefined
        ? null
        : {
            cost: row.cost_micro_usd,
            prompt_tokens: row.prompt_tokens,
            completion_tokens: row.completion_tokens,
            free_self_route: row.free_self_route,
          },
    ).toEqual(out.usage_row);
    const references = [
      [consumer.id, '<account>'],
      [failure?.jobId ?? row?.job_id ?? '<none>', '<request_id>'],
    ] as const;
    const told = house.moves(known).map(({ kind, amount, balanceAfter, reference }) => ({
      type: kind,
      amount,
      balance_after: balanceAfter,
      reference: references.reduce((text, [id, name]) => text.replace(id, name), withoutJobId(reference)),
    }));
    expect(told).toEqual(out.ledger);
    // The vectors show the consumer before a payout to the same account.
    const ownPayout = owner === 'consumer' ? out.provider_payout : 0n;
    expect(ledger.balance(consumer.id)).toEqual({
      balance: out.final_balance + ownPayout,
      withdrawable: out.final_withdrawable + ownPayout,
    });
    expect(ledger.balance(PLATFORM_ACCOUNT).balance).toBe(out.platform_fee);
    expect(house.audit()).toMatchObject({ discrepancies: [], openHolds: { count: 0 } });
  });

  /** A refused request has no id that its client could know. */
  function withoutJobId(reference: string): string {
    return reference.replace(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/u, '<request_id>');
  }

  /** Money that may be withdrawn comes from serving somebody. */
  function earn({ ledger, consumer }: PaidHouse, amount: bigint): void {
    if (amount === 0n) return;
    const [requestId, accountId] = ['earlier', 'acct_patron'];
    ledger.credit(accountId, amount, 'test');
    ledger.hold({ requestId, accountId, amount });
    ledger.settle({
      requestId,
      accountId,
      alias: ALIAS,
      build: BUILD,
      providerId: 'machine',
      providerAccountId: consumer.id,
      promptTokens: 0,
      completionTokens: Number(amount),
      price: { input: 1n, output: 1_000_000n },
      routeMode: 'none',
    });
  }

  /** @returns how the request was refused; `undefined`: it was answered, or its client left. */
  async function play(
    house: PaidHouse,
    owner: 'consumer' | 'stranger',
    { event, route_mode: route }: (typeof playable)[number]['in'],
    usage: { prompt_tokens: number; completion_tokens: number },
    bound: object,
  ): Promise<{ status: number; type: string; code: string; jobId?: string } | undefined> {
    const { clock } = house.started;
    let asked: FakeRequest | undefined;
    const machine = (onRequest: Play) =>
      house.machineOf(owner, (request) => {
        asked = request;
        return onRequest(request);
      });
    const answer = () => house.ask(bound, { route });
    switch (event) {
      case 'complete':
        await machine(answering(usage.prompt_tokens, usage.completion_tokens));
        return refusal(await answer());
      case 'reject_before_dispatch':
        return refusal(await answer());
      case 'provider_error':
        await machine((request) => request.fail(500));
        return refusal(await answer());
      case 'provider_closed_without_terminal': {
        const gone = await machine((request) => {
          request.write('x');
          gone.hangUp();
        });
        return refusal(await answer());
      }
      case 'stream_idle_timeout': {
        const writing = awaited();
        const silent = await machine(async (request) => {
          request.write('x');
          await silent.heard();
          writing.finish();
        });
        const refused = answer();
        await writing.done;
        clock.turn(CONTENT_TIMEOUT_MS);
        return refusal(await refused);
      }
      case 'disconnect_then_complete':
        return leave(house, machine, { route, bound, onCancel: (request) => request.complete(usage) });
      case 'disconnect_then_error':
        return leave(house, machine, { route, bound, onCancel: (request) => request.fail(499) });
      case 'disconnect_no_terminal':
        return leave(house, machine, { route, bound, onCancel: () => clock.turn(SETTLE_GRACE_MS) });
      case 'late_complete_after_refund': {
        await leave(house, machine, { route, bound, onCancel: () => clock.turn(SETTLE_GRACE_MS) });
        asked?.complete(usage);
        return undefined;
      }
    }
  }

  /** The client leaves in mid-stream; `onCancel` is what the machine does when it is told. */
  async function leave(
    house: PaidHouse,
    machine: (play: Play) => Promise<unknown>,
    how: { route: string; bound: object; onCancel: (request: FakeRequest) => void },
  ): Promise<undefined> {
    await machine((request) => {
      request.onCancel = () => how.onCancel(request);
      request.write('x');
    });
    const leaving = new AbortController();
    const { route, bound } = how;
    const answer = await house.ask({ ...bound, stream: true }, { route, signal: leaving.signal });
    expect(answer.status).toBe(200);
    leaving.abort();
    await house.ended();
    return undefined;
  }

  async function refusal(answer: Response) {
    const json: unknown = await answer.json();
    return answer.ok ? undefined : { status: answer.status, ...Refused.parse(json).error };
  }
});

describe('the cap of a key', () => {
  test.each(vectors.key_spend_cap)('$id', async ({ in: input, out }) => {
    await using house = await PaidHouse.open();
    const { ledger, consumer } = house;
    const price = { input: 50_000n, output: 200_000n };
    ledger.credit(consumer.id, PLENTY, 'test');
    spend(house, input.spent_in_window);
    house.behind((database) =>
      database.run('UPDATE api_keys SET limit_micro_usd = ? WHERE id = ?', input.limit, consumer.keyId),
    );
    const known = ledger.rows(consumer.id).length;
    await house.machineOf(input.route_mode === 'none' ? 'stranger' : 'consumer', answering(90, 300));
    const bound = input.reservation === 0n ? {} : { max_tokens: boundFor(input.reservation, price) };
    const answer = await house.ask(bound, { route: input.route_mode });
    if (out.allowed) {
      expect(answer.status).toBe(200);
      return;
    }
    expect(answer.status).toBe(402);
    expect(answer.headers.get('x-should-retry')).toBe('false');
    expect(Refused.parse(await answer.json()).error).toEqual({ type: out.error_type, code: out.error_code });
    expect(ledger.rows(consumer.id)).toHaveLength(known);
  });

  function spend({ ledger, consumer }: PaidHouse, amount: bigint): void {
    if (amount === 0n) return;
    const request = { requestId: 'earlier', accountId: consumer.id, keyId: consumer.keyId };
    ledger.hold({ ...request, amount });
    ledger.settle({
      ...request,
      alias: ALIAS,
      build: BUILD,
      providerId: 'machine',
      providerAccountId: 'acct_host',
      promptTokens: 0,
      completionTokens: Number(amount),
      price: { input: 1n, output: 1_000_000n },
      routeMode: 'none',
    });
  }

  test('counts what running requests may still cost: two at once do not pass it together', async () => {
    await using house = await PaidHouse.open();
    const { ledger, consumer } = house;
    ledger.credit(consumer.id, PLENTY, 'test');
    house.behind((database) => database.run('UPDATE api_keys SET limit_micro_usd = 300 WHERE id = ?', consumer.keyId));
    const both = awaited();
    await house.machineOf('stranger', async (request) => {
      await both.done;
      await answering(90, 300)(request);
    });
    const bound = { max_tokens: boundFor(200n, { input: 50_000n, output: 200_000n }) };
    const first = house.ask(bound);
    const second = house.ask(bound);
    expect((await Promise.race([first, second])).status).toBe(402);
    both.finish();
    expect([(await first).status, (await second).status].sort()).toEqual([200, 402]);
    // What the first one did not need is free again.
    expect((await house.ask(bound)).status).toBe(200);
  });

  test('of a day begins anew at midnight UTC', async () => {
    await using house = await PaidHouse.open();
    const { ledger, consumer, started } = house;
    ledger.credit(consumer.id, PLENTY, 'test');
    house.behind((database) =>
      database.run("UPDATE api_keys SET limit_micro_usd = 100, limit_window = 'daily' WHERE id = ?", consumer.keyId),
    );
    await house.machineOf('stranger', answering(90, 300));
    expect((await house.ask({ max_tokens: 10 })).status).toBe(200);
    expect((await house.ask({ max_tokens: 10 })).status).toBe(402);
    started.clock.sleep(Date.parse('2026-06-22T00:00:00Z') - started.clock.now() - 1);
    await house.machineOf('stranger', answering(90, 300)); // a challenge of this day
    expect((await house.ask({ max_tokens: 10 })).status).toBe(402);
    started.clock.sleep(1);
    expect((await house.ask({ max_tokens: 10 })).status).toBe(200);
  });
});

test.each([{ stream: false }, { stream: true }])(
  'a settlement that the books refuse is in the log, is tried on no other machine, and the hold goes back (streamed: $stream)',
  async ({ stream }) => {
    const recorded = new RecordedLog();
    await using house = await PaidHouse.open({ log: recorded.log });
    house.ledger.credit(house.consumer.id, PLENTY, 'test');
    let asked = 0;
    for (let machine = 0; machine < 2; machine++) {
      await house.machineOf('stranger', (request) => {
        asked++;
        request.accept();
        if (stream) request.write('word');
        request.complete({ prompt_tokens: 90, completion_tokens: 300 });
      });
    }
    house.behind((database) =>
      database.run("CREATE TRIGGER full BEFORE INSERT ON usage BEGIN SELECT RAISE(ABORT, 'the disk is full'); END"),
    );
    const answer = await house.ask({ max_tokens: 10, stream });
    expect(answer.status).toBe(stream ? 200 : 500);
    expect(await answer.text()).toMatch(/"internal_error"/u);
    await house.ended();
    expect(asked).toBe(1);
    expect(recorded.text).toMatch(/"step":"settlement".*the books could not be written/u);
    expect(recorded.text).toContain('the disk is full');
    expect(house.ledger.balance(house.consumer.id).balance).toBe(PLENTY);
    expect(house.audit()).toMatchObject({ discrepancies: [], openHolds: { count: 0 }, requests: 0 });
  },
);

describe('money as text', () => {
  test.each(vectors.format.balance_usd)('a balance of $in is $out', async (vector) => {
    await using house = await PaidHouse.open();
    if (vector.in > 0n) house.ledger.credit(house.consumer.id, vector.in, 'test');
    const { json } = await house.started.call('GET', '/v1/payments/balance', { token: house.consumer.key });
    expect(json).toMatchObject({ balance_micro_usd: Number(vector.in), balance_usd: vector.out });
  });

  test.each(vectors.format.usd_to_micro.filter((vector) => vector.out > 0n))('$in USD is $out', async (vector) => {
    await using house = await PaidHouse.open();
    const body = { account: 'consumer', amount_usd: vector.in };
    await house.started.call('POST', '/v1/admin/credit', { token: house.started.ownerToken, body });
    expect(house.ledger.balance(house.consumer.id).balance).toBe(vector.out);
  });

  test.each(vectors.format.per_million_usd)('a price of $in is listed as $out', async (vector) => {
    await using house = await PaidHouse.open();
    house.setPrice({ input: vector.in, output: vector.in });
    const { json } = await house.started.call('GET', '/v1/pricing');
    expect(json).toMatchObject({ prices: [{ model: ALIAS, input_usd: vector.out }, { output_usd: vector.out }] });
  });

  test.each(vectors.format.per_token_usd.filter((vector) => vector.in > 0n))('$in is $out a token', async (vector) => {
    await using house = await PaidHouse.open();
    house.setPrice({ input: vector.in, output: vector.in });
    const { json } = await house.started.call('GET', `/v1/models/${ALIAS}`, { token: house.consumer.key });
    expect(json).toMatchObject({ pricing: { prompt: vector.out, completion: vector.out } });
  });
});
