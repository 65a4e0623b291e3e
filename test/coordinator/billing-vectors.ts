import { readFileSync } from 'node:fs';
import { z } from 'zod';

const tokens = z.object({
  prompt_tokens: z.number(),
  completion_tokens: z.number(),
  input_price: z.number().transform(BigInt),
  output_price: z.number().transform(BigInt),
});
const micro = z.number().transform(BigInt);

const Vectors = z.object({
  cost: z.array(
    z.object({
      id: z.string(),
      in: tokens.extend({ service_account: z.boolean() }),
      out: z.object({ input_term: micro, output_term: micro, cost: micro }),
    }),
  ),
  fee: z.array(
    z.object({
      id: z.string(),
      in: z.object({ cost: micro, fee_percent_override: z.number().nullable() }),
      out: z.object({ platform_fee: micro, provider_payout: micro }),
    }),
  ),
  reservation: z.array(
    z.object({
      id: z.string(),
      in: z.object({
        body: z.record(z.string(), z.unknown()),
        output_bound: z.number(),
        input_price: micro,
        output_price: micro,
      }),
      out: z.object({ prompt_bound: z.number(), reservation: micro }),
    }),
  ),
  output_bound: z.array(
    z.object({
      in: z.record(z.string(), z.number()),
      registry_max_output_length: z.number().nullable(),
      out: z.number(),
    }),
  ),
  settlement: z.array(
    z.object({
      id: z.string(),
      in: tokens.extend({
        balance: micro,
        withdrawable: micro,
        reservation: micro,
        route_mode: z.enum(['none', 'prefer', 'self']),
        served_by: z.enum(['public', 'owned']),
        event: z.enum([
          'complete',
          'reject_before_dispatch',
          'provider_error',
          'provider_closed_without_terminal',
          'stream_idle_timeout',
          'disconnect_then_complete',
          'disconnect_no_terminal',
          'disconnect_then_error',
          'late_complete_after_refund',
        ]),
        fee_percent_override: z.number().nullable(),
      }),
      out: z.object({
        http_status: z.number().nullable(),
        error_type: z.string().optional(),
        error_code: z.string().optional(),
        final_balance: micro,
        final_withdrawable: micro,
        ledger: z.array(
          z.object({ type: z.enum(['charge', 'refund']), amount: micro, balance_after: micro, reference: z.string() }),
        ),
        usage_row: z
          .object({
            cost: micro,
            prompt_tokens: z.number(),
            completion_tokens: z.number(),
            free_self_route: z.boolean(),
          })
          .nullable(),
        cost: micro,
        platform_fee: micro,
        provider_payout: micro,
        provider_earning_row: z.boolean(),
      }),
    }),
  ),
  key_spend_cap: z.array(
    z.object({
      id: z.string(),
      in: z.object({
        limit: micro.nullable(),
        spent_in_window: micro,
        reservation: micro,
        route_mode: z.enum(['none', 'prefer', 'self']),
      }),
      out: z.object({ allowed: z.boolean(), error_type: z.string().optional(), error_code: z.string().optional() }),
    }),
  ),
  key_window_start_utc: z.array(z.object({ now: z.string(), limit_reset: z.string(), out: z.string().nullable() })),
  format: z.object({
    per_token_usd: z.array(z.object({ in: micro, out: z.string() })),
    per_million_usd: z.array(z.object({ in: micro, out: z.string() })),
    balance_usd: z.array(z.object({ in: micro, out: z.string() })),
    usd_to_micro: z.array(z.object({ in: z.number(), out: micro })),
  }),
});

const file = new URL('../fixtures/billing-vectors.json', import.meta.url);

export const vectors = Vectors.parse(JSON.parse(readFileSync(file, 'utf8')));
