import { DarkbloomError } from '../errors.js';

/** The account that fees go to. It exists in the books only. */
export const PLATFORM_ACCOUNT = 'platform';

const MICRO_PER_USD = 1_000_000;
const TOKENS_PER_PRICE = 1_000_000n;
const MINIMUM_CHARGE = 100n;
/** What a request may generate when neither it nor the model says so, in tokens. */
const DEFAULT_OUTPUT_BOUND = 8_192;

/** Micro-USD per million tokens. */
export interface Price {
  input: bigint;
  output: bigint;
}

/** Of a model that nobody priced. */
export const FALLBACK_PRICE: Price = { input: 50_000n, output: 200_000n };

/** Micro-USD for `tokens` at one rate, rounded down. */
export function term(tokens: number, rate: bigint): bigint {
  return (BigInt(tokens) * rate) / TOKENS_PER_PRICE;
}

/** Micro-USD for one request. The terms are rounded separately; no request is cheaper than the minimum. */
export function cost(promptTokens: number, completionTokens: number, price: Price): bigint {
  const raw = term(promptTokens, price.input) + term(completionTokens, price.output);
  return raw > MINIMUM_CHARGE ? raw : MINIMUM_CHARGE;
}

/** The platform's part of a cost, rounded down. `percent` is a whole number; what is outside 0 to 100 is clamped. */
export function fee(charged: bigint, percent: number): bigint {
  return (charged * BigInt(Math.min(Math.max(percent, 0), 100))) / 100n;
}

/** The most a request is expected to cost: held before it is sent. */
export function holdFor(promptBoundBytes: number, outputBoundTokens: number, price: Price): bigint {
  return cost(promptBoundBytes, outputBoundTokens, price);
}

/** How one request ends: what it costs, and what moves beside its hold. */
interface FinalCharge {
  charged: bigint;
  refund: bigint;
  extra: bigint;
}

/** A cost above the hold is taken only up to twice the hold, and only if the balance has it. Without a hold (0), the
 *  whole cost is taken, or nothing. */
export function finalCharge(costed: bigint, hold: bigint, balance: bigint): FinalCharge {
  if (costed <= hold) return { charged: costed, refund: hold - costed, extra: 0n };
  const over = costed - hold;
  const extra = hold > 0n && over > hold ? hold : over;
  if (extra > balance) return { charged: hold, refund: 0n, extra: 0n };
  return { charged: hold + extra, refund: 0n, extra };
}

/** The fields whose content may come to stand in a prompt. */
const PROMPT_FIELDS = [
  'messages',
  'input',
  'prompt',
  'tools',
  'system',
  'instructions',
  'response_format',
  'chat_template_kwargs',
];

type Body = Readonly<Record<string, unknown>>;

/** An upper bound of a request's prompt tokens: the UTF-8 bytes of all that a model is given to read. A byte-level
 *  tokenizer never makes more tokens than bytes. */
export function promptBound(body: Body): number {
  const { messages, input, prompt } = body;
  if (messages === undefined && input === undefined && prompt === undefined) return byteLength(body);
  return PROMPT_FIELDS.map((field) => body[field]).reduce<number>(
    (sum, part) => (part === undefined ? sum : sum + byteLength(part)),
    0,
  );
}

function byteLength(value: unknown): number {
  return Buffer.byteLength(typeof value === 'string' ? value : JSON.stringify(value));
}

/** The output tokens to hold for: the first positive bound of the request, else the model's own, else the default. */
export function outputBound(body: Body, registryMaxOutput?: number): number {
  const bounds = [body['max_tokens'], body['max_completion_tokens'], body['max_output_tokens']];
  for (const bound of bounds) {
    if (typeof bound === 'number' && bound >= 1) return Math.floor(bound);
  }
  return registryMaxOutput !== undefined && registryMaxOutput > 0 ? registryMaxOutput : DEFAULT_OUTPUT_BOUND;
}

/** `25.000000`: an amount in USD with six decimals. */
export function formatUsd(microUsd: bigint): string {
  return decimal(microUsd, 6);
}

/** `$0.0300`: a price in USD per million tokens, rounded to four decimals. */
export function formatUsdPerMillion(rate: bigint): string {
  return `$${decimal((rate + 50n) / 100n, 4)}`;
}

/** `0.00000003`: a price in USD per token, exact, without trailing zeros. */
export function formatUsdPerToken(rate: bigint): string {
  return decimal(rate, 12).replace(/\.?0+$/, '');
}

/** Micro-USD, rounded to the nearest.
 *  @throws DarkbloomError `bad_request` for what is not an amount. */
export function microFromUsd(usd: number): bigint {
  const micro = Math.round(usd * MICRO_PER_USD);
  if (!Number.isSafeInteger(micro)) throw new DarkbloomError('bad_request', 'This is not an amount in USD.');
  return BigInt(micro);
}

/** `value` / 10^`places`, all places written. */
function decimal(value: bigint, places: number): string {
  const digits = (value < 0n ? -value : value).toString().padStart(places + 1, '0');
  return `${value < 0n ? '-' : ''}${digits.slice(0, -places)}.${digits.slice(-places)}`;
}
