import { describe, expect, test } from 'vitest';
import {
  cost,
  fee,
  finalCharge,
  formatUsd,
  formatUsdPerMillion,
  formatUsdPerToken,
  holdFor,
  microFromUsd,
  outputBound,
  promptBound,
  term,
} from '../../src/coordinator/billing.js';
import { vectors } from './billing-vectors.js';

describe('cost: each term is rounded down by itself, and there is a minimum', () => {
  test.each(vectors.cost.filter((vector) => !vector.in.service_account))('$id', ({ in: input, out }) => {
    const price = { input: input.input_price, output: input.output_price };
    expect(term(input.prompt_tokens, price.input)).toBe(out.input_term);
    expect(term(input.completion_tokens, price.output)).toBe(out.output_term);
    expect(cost(input.prompt_tokens, input.completion_tokens, price)).toBe(out.cost);
  });
});

describe('the fee is rounded down and clamped', () => {
  test.each(vectors.fee)('$id', ({ in: input, out }) => {
    const platform = fee(input.cost, input.fee_percent_override ?? 0);
    expect({ platform, payout: input.cost - platform }).toEqual({
      platform: out.platform_fee,
      payout: out.provider_payout,
    });
  });
});

describe('the hold follows from the bytes of the prompt and the bound of the output', () => {
  // Tools are read by the model, so here they count.
  test.each(vectors.reservation.filter(({ id }) => id !== 'tools-not-counted'))('$id', ({ in: input, out }) => {
    const price = { input: input.input_price, output: input.output_price };
    expect(promptBound(input.body)).toBe(out.prompt_bound);
    expect(outputBound(input.body)).toBe(input.output_bound);
    expect(holdFor(promptBound(input.body), outputBound(input.body), price)).toBe(out.reservation);
  });

  test.each([
    { part: 'tools', extra: { tools: [{ type: 'function' }] }, bytes: 21 },
    { part: 'the system text of a message request', extra: { system: 'être' }, bytes: 5 },
    { part: 'a schema of the answer', extra: { response_format: { type: 'text' } }, bytes: 15 },
    { part: 'what the template is given', extra: { chat_template_kwargs: { a: 1 } }, bytes: 7 },
    { part: 'instructions', extra: { instructions: 'be brief' }, bytes: 8 },
  ])('$part count as well', ({ extra, bytes }) => {
    const body = { messages: [] };
    expect(promptBound({ ...body, ...extra })).toBe(promptBound(body) + bytes);
  });

  test('a body without any known prompt counts whole', () => {
    expect(promptBound({ model: 'm', text: 'hi' })).toBe('{"model":"m","text":"hi"}'.length);
  });
});

describe('the output bound is the first positive one', () => {
  test.each(vectors.output_bound)('$in, registry $registry_max_output_length', (vector) => {
    expect(outputBound(vector.in, vector.registry_max_output_length ?? undefined)).toBe(vector.out);
  });

  test.each([[{ max_tokens: '10' }], [{ max_tokens: -1 }], [{ max_tokens: 0.5 }], [{ max_tokens: null }]])(
    '%j says nothing',
    (body) => expect(outputBound(body, 4096)).toBe(4096),
  );
});

describe('a cost beside its hold', () => {
  test.each([
    { costed: 100n, hold: 220n, balance: 0n, charged: 100n, refund: 120n, extra: 0n },
    { costed: 220n, hold: 220n, balance: 0n, charged: 220n, refund: 0n, extra: 0n },
    { costed: 300n, hold: 220n, balance: 80n, charged: 300n, refund: 0n, extra: 80n },
    { costed: 300n, hold: 220n, balance: 79n, charged: 220n, refund: 0n, extra: 0n },
    { costed: 441n, hold: 220n, balance: 999n, charged: 440n, refund: 0n, extra: 220n },
    { costed: 900n, hold: 0n, balance: 900n, charged: 900n, refund: 0n, extra: 900n },
    { costed: 900n, hold: 0n, balance: 899n, charged: 0n, refund: 0n, extra: 0n },
  ])('$costed held $hold with $balance left', ({ costed, hold, balance, ...expected }) => {
    expect(finalCharge(costed, hold, balance)).toEqual(expected);
  });
});

describe('money as text', () => {
  test.each(vectors.format.per_token_usd)('$in per token is $out', (vector) => {
    expect(formatUsdPerToken(vector.in)).toBe(vector.out);
  });

  test.each(vectors.format.per_million_usd)('$in per million is $out', (vector) => {
    expect(formatUsdPerMillion(vector.in)).toBe(vector.out);
  });

  test.each([...vectors.format.balance_usd, { in: -120n, out: '-0.000120' }])('$in micro-USD is $out', (vector) => {
    expect(formatUsd(vector.in)).toBe(vector.out);
  });

  test.each(vectors.format.usd_to_micro)('$in USD is $out micro-USD', (vector) => {
    expect(microFromUsd(vector.in)).toBe(vector.out);
  });

  test.each([Number.NaN, Number.POSITIVE_INFINITY, 1e12])('%d is no amount', (usd) => {
    expect(() => microFromUsd(usd)).toThrow(expect.objectContaining({ code: 'bad_request' }));
  });
});
