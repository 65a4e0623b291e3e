import { z } from 'zod';
import { DarkbloomError } from '../errors.js';
import type { HttpApp, HttpContext } from '../http/app.js';
import type { JsonObject } from '../inference/types.js';
import type { Accounts } from './accounts.js';
import { formatUsd } from './billing.js';
import type { EarningRow, History, Page, Wanted } from './history.js';
import { authenticate } from './inference-door.js';
import type { Ledger, UsageRow } from './ledger.js';

interface MoneyDeps {
  accounts: Accounts;
  ledger: Ledger;
  history: History;
}

const DEFAULT_ROWS = 50;
const MAX_ROWS = 1_000;
const MAX_TEXT = 300;

/** Balance, usage and earnings of whoever asks. Lists are newest first, as JSON or CSV; a `Link` header names the next
 *  page. */
export function addMoneyRoutes(app: HttpApp, { accounts, ledger, history }: MoneyDeps): void {
  app.get('/v1/payments/balance', (context) => {
    const { account } = authenticate(context, accounts);
    const { balance, withdrawable } = ledger.balance(account.id);
    return context.json({ ...usd('balance', balance), ...usd('withdrawable', withdrawable) });
  });
  app.get('/v1/billing/wallet/balance', (context) => {
    const { account } = authenticate(context, accounts);
    return context.json({ credit_balance_micro_usd: Number(ledger.balance(account.id).balance) });
  });
  app.get('/v1/billing/methods', (context) => {
    authenticate(context, accounts);
    return context.json({ methods: [] });
  });
  app.get('/v1/payments/usage', (context) => {
    const { account } = authenticate(context, accounts);
    const { format, wanted } = listOf(context, ['model', 'key_id', 'route']);
    const page = history.usage(account.id, wanted);
    linkNext(context, page);
    const rows = page.rows.map(usageView);
    return format === 'csv' ? csv(context, 'usage', USAGE_COLUMNS, rows) : context.json({ usage: rows });
  });
  app.get('/v1/provider/account-earnings', (context) => {
    const { account } = authenticate(context, accounts);
    const { format, wanted } = listOf(context, ['model']);
    const page = history.earnings(account.id, wanted);
    linkNext(context, page);
    const rows = page.rows.map(earningView);
    if (format === 'csv') return csv(context, 'earnings', EARNING_COLUMNS, rows);
    const { balance, withdrawable } = ledger.balance(account.id);
    const { count, total } = history.earned(account.id);
    return context.json({
      account_id: account.id,
      earnings: rows,
      ...usd('total', total),
      count,
      recent_count: rows.length,
      history_limit: wanted.limit,
      ...usd('available_balance', balance),
      ...usd('withdrawable_balance', withdrawable),
    });
  });
}

/** The same amount as whole micro-USD and as text. */
function usd(name: string, amount: bigint): JsonObject {
  return { [`${name}_micro_usd`]: Number(amount), [`${name}_usd`]: formatUsd(amount) };
}

const USAGE_COLUMNS = [
  'job_id',
  'model',
  'prompt_tokens',
  'completion_tokens',
  'cost_micro_usd',
  'timestamp',
  'route',
  'free_self_route',
  'provider_id',
] as const;

function usageView(row: UsageRow): Record<(typeof USAGE_COLUMNS)[number], string | number | boolean> {
  return {
    job_id: row.requestId,
    model: row.alias,
    prompt_tokens: row.promptTokens,
    completion_tokens: row.completionTokens,
    cost_micro_usd: Number(row.cost),
    timestamp: new Date(row.createdAt).toISOString(),
    route: row.routeMode,
    free_self_route: row.freeSelfRoute,
    provider_id: row.providerId,
  };
}

const EARNING_COLUMNS = [
  'job_id',
  'model',
  'provider_id',
  'prompt_tokens',
  'completion_tokens',
  'amount_micro_usd',
  'timestamp',
] as const;

/** Nothing of whoever asked. */
function earningView(row: EarningRow): Record<(typeof EARNING_COLUMNS)[number], string | number> {
  return {
    job_id: row.requestId,
    model: row.build,
    provider_id: row.providerId,
    prompt_tokens: row.promptTokens,
    completion_tokens: row.completionTokens,
    amount_micro_usd: Number(row.amount),
    timestamp: new Date(row.createdAt).toISOString(),
  };
}

/** A day means its beginning, in UTC. */
const moment = z
  .union([z.iso.datetime({ offset: true }), z.iso.date()], 'must be a time like 2026-11-22T08:00:00Z, or a day')
  .transform((text) => Date.parse(text))
  .optional();
const text = z.string().min(1, 'must not be empty').max(MAX_TEXT, `has at most ${MAX_TEXT} characters`).optional();
const rowCount = `must be from 1 to ${MAX_ROWS}`;

const Query = z.object({
  limit: z.coerce.number(rowCount).int(rowCount).min(1, rowCount).max(MAX_ROWS, rowCount).default(DEFAULT_ROWS),
  after: text,
  from: moment,
  to: moment,
  format: z.enum(['json', 'csv'], 'must be json or csv').default('json'),
  model: text,
  key_id: text,
  route: z.enum(['none', 'prefer', 'self'], 'must be none, prefer or self').optional(),
});

/** `filters` are those that this list has beside the common ones.
 *  @throws DarkbloomError `invalid_request` naming the parameter. */
function listOf(
  context: HttpContext,
  filters: readonly ('model' | 'key_id' | 'route')[],
): { format: 'json' | 'csv'; wanted: Wanted } {
  const known = ['limit', 'after', 'from', 'to', 'format', ...filters];
  const query = context.req.query();
  const unknown = Object.keys(query).find((name) => !known.includes(name));
  if (unknown !== undefined) throw badQuery(unknown, `is not known here; there are ${known.join(', ')}`);
  const parsed = Query.safeParse(query);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw badQuery(String(issue?.path[0] ?? 'query'), issue?.message ?? 'is not valid');
  }
  const { format, key_id: keyId, route: routeMode, ...wanted } = parsed.data;
  return { format, wanted: { ...wanted, keyId, routeMode } };
}

function badQuery(param: string, what: string): DarkbloomError {
  return new DarkbloomError('invalid_request', `'${param}' ${what}.`, { param });
}

/** RFC 8288. A reader follows it until a page has none. */
function linkNext(context: HttpContext, { rows, more }: Page<{ requestId: string }>): void {
  const last = rows.at(-1);
  if (!more || last === undefined) return;
  const url = new URL(context.req.url);
  url.searchParams.set('after', last.requestId);
  context.header('Link', `<${url.pathname}${url.search}>; rel="next"`);
}

function csv(
  context: HttpContext,
  name: string,
  columns: readonly string[],
  rows: readonly Readonly<Record<string, string | number | boolean>>[],
): Response {
  const lines = [columns, ...rows.map((row) => columns.map((column) => cell(String(row[column]))))];
  context.header('Content-Type', 'text/csv; charset=utf-8; header=present');
  context.header('Content-Disposition', `attachment; filename="${name}.csv"`);
  return context.body(lines.map((cells) => `${cells.join(',')}\r\n`).join(''));
}

/** RFC 4180. A text that a spreadsheet would take for a formula is marked as text. */
function cell(value: string): string {
  const harmless = /^[=+@\t\r-]/u.test(value) ? `'${value}` : value;
  return /[",\r\n]/u.test(harmless) ? `"${harmless.replaceAll('"', '""')}"` : harmless;
}
