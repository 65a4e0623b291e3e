import { DarkbloomError, toFailure } from '../errors.js';
import type { ChatEvent, FinishReason, JsonObject, OperationResult, Usage } from '../inference/types.js';
import { ACCEPT_TIMEOUT_MS, ANSWER_TIMEOUT_MS, CONTENT_TIMEOUT_MS, SETTLE_GRACE_MS } from '../protocol/limits.js';
import type { WireUsage } from '../protocol/provider-messages.js';
import type { Clock } from '../util/clock.js';
import type { Attempt } from './attempts.js';
import { faultIn, type Shape } from './breakers.js';
import type { Fleet } from './fleet.js';
import type { RefundReason } from './ledger.js';
import { isWarm, keyOf } from './machine.js';
import type { Beginning } from './prefix-affinity.js';
import { ProviderGone } from './provider-errors.js';
import type { ProviderSession } from './provider-session.js';
import { busyWhy, type Candidate } from './routing.js';

/** Machines that one request is tried on, one after another, before any content. */
const MAX_ATTEMPTS = 3;

/** One consumer's request, checked and paid for, and what to do at its turns. */
export interface RelayRequest {
  /** Whose turn it uses in the waiting line. */
  accountId: string;
  /** And in which of the account's lanes. */
  lane: string;
  /** For people. */
  model: string;
  shape: Shape;
  /** What of the prompt is remembered for the machine that reads it. */
  beginnings: readonly Beginning[];
  /** Of prompt and answer, as far as known. */
  tokens: number;
  /** Estimated, for the time a machine gets to accept. */
  promptTokens: number;
  /** Nobody else's machine will do. */
  ownMachinesOnly: boolean;
  /** The machines that may serve it now, the best first. */
  candidates: () => Candidate[];
  /** What to say when there is no machine at all. */
  refusal: () => DarkbloomError;
  /** The body to seal for this machine. */
  bodyFor: (candidate: Candidate) => JsonObject;
  /** This machine begins to answer. */
  serving: (candidate: Candidate) => void;
  /** The answer is complete. */
  settle: (candidate: Candidate, usage: Usage) => Promise<void> | void;
  /** There is no answer to pay for. Only the first call of `settle` or `refund` counts. */
  refund: (reason: RefundReason) => Promise<void> | void;
  /** Nothing more happens for this request. */
  ended: () => void;
}

interface RelayDeps {
  fleet: Fleet;
  clock: Clock;
}

/**
 * A request's way through the fleet: waits for a machine, tries others until one writes, passes on what it writes, and
 * settles or refunds exactly once. The reader goes on to the end even after its client has left, so that what was
 * written can still be settled.
 */
export async function* relay(request: RelayRequest, deps: RelayDeps, signal: AbortSignal): AsyncGenerator<ChatEvent> {
  const tried = new Set<string>();
  let loss: Loss | undefined;
  try {
    for (;;) {
      const untried = () =>
        tried.size < MAX_ATTEMPTS ? request.candidates().filter(({ machine }) => !tried.has(machine.id)) : [];
      const taken = await takeMachine(request, deps, untried, signal);
      if (taken === 'left') {
        yield { type: 'cancelled', usage: NOTHING };
        return;
      }
      if (taken === undefined) {
        if (loss !== undefined) await request.refund(loss.reason);
        throw loss?.error ?? request.refusal();
      }
      tried.add(taken.candidate.machine.id);
      loss = yield* tryOn(taken, request, deps, signal);
      if (loss === undefined) return;
    }
  } finally {
    await request.refund('reservation_refund'); // only if nothing above has settled or refunded it
    request.ended();
  }
}

const NOTHING: Usage = { promptTokens: 0, completionTokens: 0 };

/** An attempt on a machine, already under way. */
interface Taken {
  candidate: Candidate;
  /** Milliseconds since the epoch. */
  sentAt: number;
  /** The model was in memory then. */
  warm: boolean;
  session: ProviderSession;
  attempt: Attempt;
}

/** An attempt that gave nothing. */
interface Loss {
  error: DarkbloomError;
  reason: RefundReason;
}

/** `left`: the client went away while it waited. */
async function takeMachine(
  request: RelayRequest,
  { fleet, clock }: RelayDeps,
  candidates: () => Candidate[],
  signal: AbortSignal,
): Promise<Taken | undefined | 'left'> {
  const take = (candidate: Candidate, session: ProviderSession): Taken => ({
    candidate,
    session,
    sentAt: clock.now(),
    warm: isWarm(candidate.machine, candidate.build),
    attempt: session.start(candidate.build, request.bodyFor(candidate), request.tokens),
  });
  const { accountId, lane, model } = request;
  try {
    return await fleet.room({ accountId, lane, model, candidates, take }, signal);
  } catch (error) {
    if (signal.aborted) return 'left';
    throw asBusy(error, request.ownMachinesOnly);
  }
}

/** Where nobody else's machine will do, a full line is called a busy machine. */
function asBusy(error: unknown, ownMachinesOnly: boolean): unknown {
  const { code, message, retryAfterS } = toFailure(error);
  if (code !== 'over_capacity' || !ownMachinesOnly) return error;
  return new DarkbloomError('machine_busy', message, retryAfterS === undefined ? {} : { retryAfterS });
}

/** Spares a request that would find all machines busy and the line full the work of being read and held for.
 *  @throws DarkbloomError `over_capacity`, `machine_busy`. */
export function refuseWhenFull(
  { accountId, lane, model, ownMachinesOnly }: Pick<RelayRequest, 'accountId' | 'lane' | 'model' | 'ownMachinesOnly'>,
  candidates: readonly Candidate[],
  { line }: Fleet,
): void {
  if (candidates.length === 0 || candidates.some(({ free }) => free)) return;
  try {
    line.refuseIfFull({ accountId, lane, why: () => busyWhy(model, candidates) });
  } catch (error) {
    throw asBusy(error, ownMachinesOnly);
  }
}

/**
 *   sent ──accepted──▶ accepted ──content──▶ writing ──complete──▶ settled
 *     └──── error, timeout: next machine ◀──┘    └── error, timeout ──▶ refunded
 *   sent, accepted ──left──▶ refunded;  writing ──left──▶ leaving ──complete──▶ settled
 *
 * @returns the loss after which another machine may be tried; `undefined` when the request has ended.
 * @throws DarkbloomError after content, or when no other machine would answer differently.
 */
async function* tryOn(
  { candidate, session, sentAt, warm, attempt }: Taken,
  request: RelayRequest,
  { fleet, clock }: RelayDeps,
  signal: AbortSignal,
): AsyncGenerator<ChatEvent, Loss | undefined> {
  const { machine, build } = candidate;
  const deadline = new Deadline(clock, attempt);
  const onAbort = () => attempt.events.insist({ type: 'left' });
  signal.addEventListener('abort', onAbort, { once: true });
  if (signal.aborted) onAbort();
  let phase: 'sent' | 'accepted' | 'writing' | 'leaving' = 'sent';
  let finishReason: FinishReason = 'stop';
  let promptTokens = 0; // not known before the end from a provider that does not say it
  let cachedTokens: number | undefined;
  let reasoningTokens: number | undefined;
  let result: OperationResult | undefined;
  let lossReason: RefundReason = 'provider_error';
  deadline.within(ACCEPT_TIMEOUT_MS + request.promptTokens);
  try {
    for await (const event of attempt.events) {
      switch (event.type) {
        case 'accepted':
          phase = phase === 'sent' ? 'accepted' : phase;
          if (phase !== 'leaving') deadline.within(CONTENT_TIMEOUT_MS);
          break;
        case 'chunk': {
          const { events, finishReason: reason } = event.content;
          promptTokens = event.content.promptTokens ?? promptTokens;
          cachedTokens = event.content.cachedTokens ?? cachedTokens;
          finishReason = reason ?? finishReason;
          reasoningTokens = event.content.reasoningTokens ?? reasoningTokens;
          if (phase !== 'leaving') deadline.within(CONTENT_TIMEOUT_MS);
          if (events.length === 0 || phase === 'leaving') break;
          if (phase !== 'writing') {
            phase = 'writing';
            request.serving(candidate);
            learn(fleet, request, candidate, { seenMs: clock.now() - sentAt, now: clock.now(), warm });
            yield { type: 'started', promptTokens, ...cachedOf(promptTokens, cachedTokens) };
          }
          yield* events;
          break;
        }
        case 'result':
          ({ result } = event);
          break;
        case 'complete': {
          const usage = usageOf(event.usage, cachedTokens, reasoningTokens);
          await request.settle(candidate, usage);
          fleet.breakers.succeeded(keyOf(machine), build, request.shape);
          if (phase === 'leaving') {
            yield { type: 'cancelled', usage };
            return undefined;
          }
          if (phase !== 'writing') {
            request.serving(candidate);
            yield { type: 'started', promptTokens: usage.promptTokens, ...cachedOf(usage.promptTokens, cachedTokens) };
          }
          yield { type: 'done', finishReason, stopSequence: event.stopSequence, usage, result };
          return undefined;
        }
        case 'left':
          if (phase !== 'writing') {
            yield { type: 'cancelled', usage: NOTHING };
            return undefined;
          }
          phase = 'leaving';
          session.cancel(attempt.requestId);
          deadline.set(SETTLE_GRACE_MS);
          break;
        case 'timeout':
          if (phase === 'leaving') {
            await request.refund('no_terminal_after_cancel');
            yield { type: 'cancelled', usage: NOTHING };
            return undefined;
          }
          lossReason = 'provider_timeout';
          throw new DarkbloomError('timeout', deadline.over ? TOO_LONG : phase === 'sent' ? NOT_ACCEPTED : SILENT);
        default:
          event satisfies never;
      }
    }
    lossReason = 'provider_incomplete';
    throw new DarkbloomError('provider_error', 'The machine ended the answer without completing it.');
  } catch (error) {
    const failure = toFailure(error);
    if (error instanceof ProviderGone) lossReason = 'provider_incomplete';
    const fault = faultIn(failure);
    // the end of a connection is counted once for all that it cost, and silence is no fault of the machine
    const isThere = fleet.session(machine.id) === session && session.heardAt >= sentAt;
    if (fault !== undefined && isThere) fleet.breakers.failed(keyOf(machine), build, request.shape, fault);
    if (phase === 'leaving') {
      await request.refund('provider_error_after_disconnect');
      yield { type: 'cancelled', usage: NOTHING };
      return undefined;
    }
    if (phase !== 'writing' && mayWorkElsewhere(failure)) return { error: failure, reason: lossReason };
    await request.refund(lossReason);
    throw failure;
  } finally {
    deadline.clear();
    signal.removeEventListener('abort', onAbort);
    session.abandon(attempt.requestId);
  }
}

const NOT_ACCEPTED = 'The machine did not accept the request.';
const SILENT = 'The machine fell silent.';
const TOO_LONG = `The answer was not complete after ${ANSWER_TIMEOUT_MS / 3_600_000} hours.`;

/** The machine has read the prompt, after so long. */
function learn(
  { prefixes, pace }: Fleet,
  { beginnings }: RelayRequest,
  { machine, build, promisedMs }: Candidate,
  { seenMs, now, warm }: { seenMs: number; now: number; warm: boolean },
): void {
  prefixes.remember(machine.id, build, beginnings);
  if (warm) pace.saw(keyOf(machine), build, { promisedMs, seenMs }, now); // else it is of the load
}

/** What is wrong with the request itself, or here, is wrong on every machine. */
function mayWorkElsewhere({ code, status }: DarkbloomError): boolean {
  if (code === 'provider_error') return status >= 500;
  return !['context_length_exceeded', 'invalid_request', 'unprocessable', 'cancelled', 'internal'].includes(code);
}

function usageOf(
  { prompt_tokens, completion_tokens }: WireUsage,
  cachedTokens: number | undefined,
  reasoningTokens: number | undefined,
): Usage {
  return {
    promptTokens: prompt_tokens,
    completionTokens: completion_tokens,
    ...cachedOf(prompt_tokens, cachedTokens),
    ...(reasoningTokens === undefined ? {} : { reasoningTokens: Math.min(reasoningTokens, completion_tokens) }),
  };
}

/** No more than the whole prompt, whatever the provider says. */
function cachedOf(promptTokens: number, cachedTokens: number | undefined): Pick<Usage, 'cachedTokens'> {
  return cachedTokens === undefined ? {} : { cachedTokens: Math.min(cachedTokens, promptTokens) };
}

/** Puts `timeout` into an attempt's line when nothing came for too long, or when the whole takes too long. */
class Deadline {
  readonly #clock: Clock;
  readonly #attempt: Attempt;
  readonly #end: number;
  #timer: Disposable | undefined;

  constructor(clock: Clock, attempt: Attempt) {
    this.#clock = clock;
    this.#attempt = attempt;
    this.#end = clock.now() + ANSWER_TIMEOUT_MS;
  }

  /** The answer has taken as long as it may. */
  get over(): boolean {
    return this.#clock.now() >= this.#end;
  }

  /** The next thing must come within so long, and before the end of the whole. */
  within(delayMs: number): void {
    this.set(Math.min(delayMs, this.#end - this.#clock.now()));
  }

  set(delayMs: number): void {
    this.clear();
    this.#timer = this.#clock.after(delayMs, () => this.#attempt.events.put({ type: 'timeout' }));
  }

  clear(): void {
    this.#timer?.[Symbol.dispose]();
  }
}
