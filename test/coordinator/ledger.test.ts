import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { auditBooks } from '../../src/coordinator/audit.js';
import { FALLBACK_PRICE, PLATFORM_ACCOUNT } from '../../src/coordinator/billing.js';
import {
  Ledger,
  type Completion,
  type LedgerRow,
  type RefundReason,
  type RouteMode,
} from '../../src/coordinator/ledger.js';
import { toFailure } from '../../src/errors.js';
import { vectors } from './billing-vectors.js';
import { START_MS, temporaryDatabase } from './temporary-database.js';

type SettlementVector = (typeof vectors.settlement)[number];

const CONSUMER = 'acct_consumer';
const STRANGER = 'acct_stranger';
const REQUEST = 'request-1';

function completion(changes: Partial<Completion> = {}): Completion {
  return {
    requestId: REQUEST,
    accountId: CONSUMER,
    alias: 'tiny',
    build: 'local/tiny',
    providerId: 'provider-1',
    providerAccountId: STRANGER,
    promptTokens: 90,
    completionTokens: 300,
    price: FALLBACK_PRICE,
    routeMode: 'none',
    ...changes,
  };
}

function temporaryLedger() {
  const books = temporaryDatabase();
  return { ...books, ledger: new Ledger(books.database, books.clock) };
}

/** Money that may be withdrawn comes from serving somebody. */
function earn(ledger: Ledger, accountId: string, amount: bigint): void {
  if (amount === 0n) return;
  const requestId = `earned-by-${accountId}`;
  ledger.credit('acct_patron', amount, 'test');
  ledger.hold({ requestId, accountId: 'acct_patron', amount });
  ledger.settle(
    completion({
      requestId,
      accountId: 'acct_patron',
      providerAccountId: accountId,
      promptTokens: 0,
      completionTokens: Number(amount),
      price: { input: 1n, output: 1_000_000n },
    }),
  );
}

describe('settlement', () => {
  test.each(vectors.settlement)('$id', ({ in: input, out }) => {
    using books = temporaryLedger();
    const { ledger } = books;
    earn(ledger, CONSUMER, input.withdrawable);
    const given = input.balance - input.withdrawable;
    if (given > 0n) ledger.credit(CONSUMER, given, 'test');
    const known = ledger.rows(CONSUMER).length;
    const provider = input.served_by === 'owned' ? CONSUMER : STRANGER;

    const failure = failureOf(() => {
      if (input.reservation > 0n) {
        ledger.hold({ requestId: REQUEST, accountId: CONSUMER, amount: input.reservation });
      }
    });
    const settlement = failure === undefined ? play(ledger, input, provider) : undefined;

    expect(failure?.status).toBe(failure === undefined ? undefined : (out.http_status ?? undefined));
    expect([failure?.type, failure?.code]).toEqual([out.error_type, out.error_code]);
    const rows = ledger.rows(CONSUMER).slice(known);
    const paidByConsumer = rows.filter((row) => row.kind === 'charge' || row.kind === 'refund');
    expect(paidByConsumer.map(asInVector)).toEqual(out.ledger);
    expect(usageInVector(ledger)).toEqual(out.usage_row);
    expect({
      cost: settlement?.cost ?? 0n,
      platform_fee: settlement?.fee ?? 0n,
      provider_payout: settlement?.payout ?? 0n,
    }).toEqual({ cost: out.cost, platform_fee: out.platform_fee, provider_payout: out.provider_payout });

    const earned = ledger.rows(provider).filter((row) => row.kind === 'payout' && row.reference === REQUEST);
    expect(earned.map((row) => row.amount)).toEqual(out.provider_earning_row ? [out.provider_payout] : []);
    const kept = ledger.rows(PLATFORM_ACCOUNT).map((row) => row.amount);
    expect(kept).toEqual(out.platform_fee > 0n ? [out.platform_fee] : []);

    // The vectors show the consumer before a payout to the same account.
    const ownPayout = provider === CONSUMER ? out.provider_payout : 0n;
    expect(ledger.balance(CONSUMER)).toEqual({
      balance: out.final_balance + ownPayout,
      withdrawable: out.final_withdrawable + ownPayout,
    });
    expect(auditBooks(books.path).discrepancies).toEqual([]);
    expect(ledger.refundOrphans()).toBe(0);
  });

  function play(ledger: Ledger, input: SettlementVector['in'], providerAccountId: string) {
    const done = completion({
      providerAccountId,
      promptTokens: input.prompt_tokens,
      completionTokens: input.completion_tokens,
      price: { input: input.input_price, output: input.output_price },
      routeMode: input.route_mode,
      feePercent: input.fee_percent_override ?? 0,
    });
    const refunded = (reason?: RefundReason) => void ledger.refund(REQUEST, reason);
    switch (input.event) {
      case 'complete':
      case 'disconnect_then_complete':
        return ledger.settle(done);
      case 'reject_before_dispatch':
        return refunded();
      case 'provider_error':
        return refunded('provider_error');
      case 'provider_closed_without_terminal':
        return refunded('provider_incomplete');
      case 'stream_idle_timeout':
        return refunded('provider_timeout');
      case 'disconnect_no_terminal':
        return refunded('no_terminal_after_cancel');
      case 'disconnect_then_error':
        return refunded('provider_error_after_disconnect');
      case 'late_complete_after_refund':
        refunded('no_terminal_after_cancel');
        return ledger.settle(done);
    }
  }

  function failureOf(work: () => void) {
    try {
      work();
      return undefined;
    } catch (error) {
      return toFailure(error);
    }
  }

  function asInVector(row: LedgerRow) {
    const reference = row.reference.replace(CONSUMER, '<account>').replace(REQUEST, '<request_id>');
    return { type: row.kind, amount: row.amount, balance_after: row.balanceAfter, reference };
  }

  function usageInVector(ledger: Ledger) {
    const row = ledger.usageOf(REQUEST);
    if (row === undefined) return null;
    return {
      cost: row.cost,
      prompt_tokens: row.promptTokens,
      completion_tokens: row.completionTokens,
      free_self_route: row.freeSelfRoute,
    };
  }
});

describe('what a completed request costs arrives in the books', () => {
  const PLENTY = 1_000_000_000_000n;

  test.each(vectors.cost.filter((vector) => !vector.in.service_account))('cost $id', ({ in: input, out }) => {
    using books = temporaryLedger();
    const { ledger } = books;
    ledger.credit(CONSUMER, PLENTY, 'test');
    ledger.hold({ requestId: REQUEST, accountId: CONSUMER, amount: PLENTY });
    ledger.settle(
      completion({
        promptTokens: input.prompt_tokens,
        completionTokens: input.completion_tokens,
        price: { input: input.input_price, output: input.output_price },
      }),
    );
    expect(ledger.usageOf(REQUEST)).toMatchObject({
      cost: out.cost,
      promptTokens: input.prompt_tokens,
      completionTokens: input.completion_tokens,
    });
    expect(ledger.balance(CONSUMER).balance).toBe(PLENTY - out.cost);
    expect(ledger.balance(STRANGER)).toEqual({ balance: out.cost, withdrawable: out.cost });
  });

  // A request costs at least 100, so a smaller cost never reaches the fee.
  test.each(vectors.fee.filter((vector) => vector.in.cost >= 100n))('fee $id', ({ in: input, out }) => {
    using books = temporaryLedger();
    const { ledger } = books;
    ledger.credit(CONSUMER, PLENTY, 'test');
    ledger.hold({ requestId: REQUEST, accountId: CONSUMER, amount: PLENTY });
    ledger.settle(
      completion({
        promptTokens: 0,
        completionTokens: Number(input.cost),
        price: { input: 1n, output: 1_000_000n },
        feePercent: input.fee_percent_override ?? 0,
      }),
    );
    expect(ledger.balance(PLATFORM_ACCOUNT).balance).toBe(out.platform_fee);
    expect(ledger.balance(STRANGER).balance).toBe(out.provider_payout);
  });
});

describe('a request ends once', () => {
  test('a second settlement and a refund after it change nothing', () => {
    using books = temporaryLedger();
    const { ledger } = books;
    ledger.credit(CONSUMER, 1_000n, 'test');
    ledger.hold({ requestId: REQUEST, accountId: CONSUMER, amount: 220n });
    expect(ledger.settle(completion())).toEqual({ cost: 100n, payout: 100n, fee: 0n });
    const before = ledger.rows(CONSUMER);
    expect(ledger.settle(completion({ completionTokens: 9_000 }))).toBeUndefined();
    expect(ledger.refund(REQUEST)).toBe(false);
    expect(ledger.rows(CONSUMER)).toEqual(before);
    expect(ledger.balance(STRANGER).balance).toBe(100n);
    expect(ledger.usageOf(REQUEST)?.cost).toBe(100n);
  });

  test('a second refund changes nothing', () => {
    using books = temporaryLedger();
    const { ledger } = books;
    ledger.credit(CONSUMER, 1_000n, 'test');
    ledger.hold({ requestId: REQUEST, accountId: CONSUMER, amount: 220n });
    expect([ledger.refund(REQUEST), ledger.refund(REQUEST), ledger.refund('unknown')]).toEqual([true, false, false]);
    expect(ledger.balance(CONSUMER).balance).toBe(1_000n);
  });

  test('a free request is recorded once, without money', () => {
    using books = temporaryLedger();
    const { ledger } = books;
    const own = completion({ routeMode: 'self', providerAccountId: CONSUMER });
    expect(ledger.settle(own)).toEqual({ cost: 0n, payout: 0n, fee: 0n });
    expect(ledger.settle(own)).toBeUndefined();
    expect(ledger.usageOf(REQUEST)).toMatchObject({ cost: 0n, freeSelfRoute: true, routeMode: 'self' });
    expect(ledger.rows(CONSUMER)).toEqual([]);
  });

  test.each([
    { state: 'open', end: () => undefined },
    { state: 'settled', end: (ledger: Ledger) => ledger.settle(completion()) },
  ])('a request that is $state takes no second hold', ({ end }) => {
    using books = temporaryLedger();
    const { ledger } = books;
    ledger.credit(CONSUMER, 1_000n, 'test');
    ledger.hold({ requestId: REQUEST, accountId: CONSUMER, amount: 220n });
    end(ledger);
    const before = ledger.balance(CONSUMER);
    expect(() => ledger.hold({ requestId: REQUEST, accountId: CONSUMER, amount: 220n })).toThrow(
      expect.objectContaining({ code: 'internal' }),
    );
    expect(ledger.balance(CONSUMER)).toEqual(before);
  });

  test('a settlement that fails half-way leaves the hold open and moves nothing', () => {
    using books = temporaryLedger();
    const { ledger, database } = books;
    ledger.credit(CONSUMER, 1_000n, 'test');
    ledger.hold({ requestId: REQUEST, accountId: CONSUMER, amount: 220n });
    database.run(`CREATE TRIGGER full BEFORE INSERT ON usage BEGIN SELECT RAISE(ABORT, 'disk full'); END`);
    expect(() => ledger.settle(completion())).toThrow('disk full');
    expect(ledger.balance(CONSUMER).balance).toBe(780n);
    expect(ledger.rows(STRANGER)).toEqual([]);
    expect(ledger.refund(REQUEST)).toBe(true);
  });
});

test('after a restart, the holds that were open go back', () => {
  using books = temporaryLedger();
  const { database, clock, ledger } = books;
  ledger.credit(CONSUMER, 1_000n, 'test');
  for (const requestId of ['request-1', 'request-2', 'request-3']) {
    ledger.hold({ requestId, accountId: CONSUMER, amount: 220n });
  }
  ledger.settle(completion({ requestId: 'request-2' }));

  const restarted = new Ledger(database, clock);
  expect(restarted.refundOrphans()).toBe(2);
  expect(restarted.refundOrphans()).toBe(0);
  expect(restarted.balance(CONSUMER).balance).toBe(900n);
  const references = restarted.rows(CONSUMER).map((row) => row.reference);
  expect(references.slice(-2)).toEqual(['orphaned_hold:request-1', 'orphaned_hold:request-3']);
  expect(restarted.settle(completion({ requestId: 'request-1' }))).toBeUndefined();
});

test('a credit is not withdrawable and more than nothing', () => {
  using books = temporaryLedger();
  const { ledger } = books;
  ledger.credit(CONSUMER, 5_000_000n, 'gift');
  expect(ledger.balance(CONSUMER)).toEqual({ balance: 5_000_000n, withdrawable: 0n });
  expect(ledger.rows(CONSUMER)).toMatchObject([{ kind: 'admin_credit', reference: 'gift', createdAt: START_MS }]);
  for (const amount of [0n, -1n]) {
    expect(() => ledger.credit(CONSUMER, amount, 'x')).toThrow(expect.objectContaining({ code: 'bad_request' }));
  }
});

test('what was spent with a key is the sum of its settled requests', () => {
  using books = temporaryLedger();
  const { ledger } = books;
  ledger.credit(CONSUMER, 10_000n, 'test');
  for (const [requestId, keyId] of [
    ['a', 'key_1'],
    ['b', 'key_1'],
    ['c', 'key_2'],
    ['d', undefined],
  ] as const) {
    ledger.hold({ requestId, accountId: CONSUMER, keyId, amount: 220n });
    ledger.settle(completion({ requestId, keyId }));
  }
  expect([ledger.spentWithKey('key_1'), ledger.spentWithKey('unused')]).toEqual([200n, 0n]);
});

describe('the books', () => {
  test('refuse to change or forget a row', () => {
    using books = temporaryLedger();
    const { ledger, database } = books;
    ledger.credit(CONSUMER, 1_000n, 'test');
    ledger.settle(completion({ routeMode: 'self', providerAccountId: CONSUMER }));
    expect(() => database.run('UPDATE ledger SET amount_micro_usd = 1')).toThrow('append-only');
    expect(() => database.run('DELETE FROM ledger')).toThrow('append-only');
    expect(() => database.run('UPDATE usage SET cost_micro_usd = 1')).toThrow('append-only');
    expect(() => database.run('DELETE FROM usage')).toThrow('append-only');
  });

  test('name the account and the row that somebody altered behind them', () => {
    using books = temporaryLedger();
    const { ledger, database } = books;
    ledger.credit(CONSUMER, 1_000n, 'test');
    ledger.credit(STRANGER, 1_000n, 'test');
    ledger.credit(CONSUMER, 500n, 'test');
    database.run('DROP TRIGGER ledger_no_update');
    database.run('UPDATE ledger SET amount_micro_usd = 400 WHERE amount_micro_usd = 500');
    expect(auditBooks(books.path).discrepancies).toEqual([
      { kind: 'balance', about: CONSUMER, seq: 3, stored: 1_500n, recomputed: 1_400n },
    ]);
  });

  type Step =
    | { name: 'credit'; account: string; amount: bigint }
    | { name: 'hold'; account: string; request: string; amount: bigint }
    | { name: 'refund'; request: string }
    | { name: 'settle'; request: string; provider: string; tokens: number; mode: RouteMode; percent: number };

  const account = fc.constantFrom('acct_a', 'acct_b', 'acct_c');
  const request = fc.constantFrom('request-1', 'request-2', 'request-3', 'request-4', 'request-5');
  const amount = fc.bigInt(1n, 1_000n);
  const step: fc.Arbitrary<Step> = fc.oneof(
    fc.record({ name: fc.constant('credit' as const), account, amount }),
    fc.record({ name: fc.constant('hold' as const), account, request, amount }),
    fc.record({ name: fc.constant('refund' as const), request }),
    fc.record({
      name: fc.constant('settle' as const),
      request,
      provider: account,
      tokens: fc.nat(3_000),
      mode: fc.constantFrom<RouteMode>('none', 'prefer', 'self'),
      percent: fc.nat(100),
    }),
  );

  test('balance after any steps: nobody owes, and no money appears or is lost', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        using books = temporaryLedger();
        const { ledger } = books;
        const holder = new Map<string, string>();
        let given = 0n;
        for (const each of steps) {
          switch (each.name) {
            case 'credit':
              ledger.credit(each.account, each.amount, 'test');
              given += each.amount;
              break;
            case 'hold':
              try {
                ledger.hold({ requestId: each.request, accountId: each.account, amount: each.amount });
                holder.set(each.request, each.account);
              } catch (error) {
                expect(['insufficient_quota', 'internal']).toContain(toFailure(error).code);
              }
              break;
            case 'refund':
              ledger.refund(each.request);
              break;
            case 'settle':
              ledger.settle(
                completion({
                  requestId: each.request,
                  accountId: holder.get(each.request) ?? 'acct_a',
                  providerAccountId: each.provider,
                  completionTokens: each.tokens,
                  routeMode: each.mode,
                  feePercent: each.percent,
                }),
              );
              break;
          }
        }
        ledger.refundOrphans();
        const balances = ['acct_a', 'acct_b', 'acct_c', PLATFORM_ACCOUNT].map((id) => ledger.balance(id));
        expect(auditBooks(books.path).discrepancies).toEqual([]);
        expect(balances.every(({ balance, withdrawable }) => withdrawable >= 0n && balance >= withdrawable)).toBe(true);
        expect(balances.reduce((sum, { balance }) => sum + balance, 0n)).toBe(given);
      }),
      { numRuns: 60 },
    );
  });
});
