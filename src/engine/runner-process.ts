import { fork, type ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { DarkbloomError } from '../errors.js';
import type { Log } from '../log.js';
import type { Operation } from '../inference/operations.js';
import { isContent, type ChatEvent, type ChatRequest, type OperationResult } from '../inference/types.js';
import {
  ACK_EVERY,
  MAX_MESSAGES_PER_TOKEN,
  READ_AHEAD,
  RunnerMessage,
  type EngineMessage,
  type LoadOrder,
  type ModelFacts,
  type OperationMessage,
  type RequestMessage,
} from '../runner-protocol/messages.js';
import type { Clock } from '../util/clock.js';
import { Mailbox } from '../util/mailbox.js';
import { PACKAGE_ROOT } from '../util/version.js';
import { computingEnvironment } from './computing-environment.js';
import { SilenceWatch } from './silence-watch.js';

const RUNNER_MAIN = join(PACKAGE_ROOT, 'dist/runner/main.js');
/** Between asking a runner to end and ending it. */
const CLOSE_TIMEOUT_MS = 5_000;
/** Between ending it and giving it up: a process stuck in a call to a disk that is gone does not end. */
const KILL_TIMEOUT_MS = 5_000;

/** Prompt tokens from which on their reading tells a speed, beside a prefix that was not read. */
const TELLING_TOKENS = 64;

/** `started`, and `done` or `failed`. */
const BEGINNING_AND_END = 2;

/** Messages of one request; beside start and end, the runner never sends more than it may be ahead. */
type Answer = Mailbox<RequestMessage>;

/** An operation under way. */
interface Asked {
  resolve: (result: OperationResult) => void;
  reject: (error: DarkbloomError) => void;
}

/** Speed of one finished answer. */
export interface Timing {
  /** Prompt tokens that were read, without those that a row held already. */
  promptTokens: number;
  /** From the first share of the reading to the first token of the answer. */
  promptMs: number;
  completionTokens: number;
  /** From the first token of the answer to its end. */
  outputMs: number;
}

interface RunnerOptions {
  /** The runner's whole environment: nothing of ours that it does not need. */
  environment: Readonly<Record<string, string>>;
  /** With something to do it is never silent for longer than this; otherwise it hangs and is ended. */
  longestSilenceMs: number;
  clock: Clock;
  log: Log;
  /** Aborted: a load that is under way is given up, and its process ended. */
  signal: AbortSignal;
}

/** The parent's end of one runner. */
export class RunnerProcess {
  readonly #child: ChildProcess;
  readonly #log: Log;
  readonly #answers = new Map<number, Answer>();
  readonly #operations = new Map<number, Asked>();
  readonly #ready: Promise<ModelFacts>;
  /** Resolves when the process is gone, for whatever reason. */
  readonly exited: Promise<void>;
  readonly #watch: SilenceWatch;
  #forgetSignal: () => void = () => undefined;
  #giveUp: () => void = () => undefined;
  #facts: ModelFacts | undefined;
  #memoryBytes = 0;
  #nextId = 1;
  /** Why it was killed. */
  #why: string | undefined;
  /** How it ended; `undefined` until it has. */
  #how: string | undefined;

  private constructor(order: LoadOrder, { environment, longestSilenceMs, clock, log, signal }: RunnerOptions) {
    this.#log = log;
    this.#child = fork(RUNNER_MAIN, [], {
      env: { ...environment, ...computingEnvironment(order.rows) },
      execArgv: [],
      serialization: 'advanced',
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'], // the library writes to standard error what requests hold
    });
    this.exited = new Promise((resolve) => {
      this.#giveUp = () => resolve(this.#onExit('it does not end'));
      this.#child.once('exit', (code, exitSignal) => resolve(this.#onExit(String(exitSignal ?? code))));
      // A process that could not be started has no exit, only this.
      this.#child.once('error', (error) => resolve(this.#onExit(error.message)));
    });
    this.#watch = new SilenceWatch({
      clock,
      longestMs: longestSilenceMs,
      expects: () => this.#owes,
      tooLong: () => {
        this.#kill(`it did nothing for ${Math.round(longestSilenceMs / 1_000)} s`);
      },
    });
    this.#ready = new Promise((resolve, reject) => {
      this.#child.on('message', (raw) => {
        this.#watch.heard();
        const message = RunnerMessage.safeParse(raw).data;
        if (message === undefined) this.#kill('it sent what no runner of ours sends');
        else if (message.type === 'ready') resolve(message.facts);
        else if (message.type === 'memory') this.#memoryBytes = Math.max(this.#memoryBytes, message.bytes);
        else if (message.type === 'load_failed') reject(new DarkbloomError('model_corrupt', message.message));
        else if (message.type === 'step') for (const each of message.messages) this.#deliver(each);
        else if (message.type === 'log') log.debug({ line: message.line }, 'runner says');
        else if (message.type !== 'progress') this.#conclude(message);
      });
      void this.exited.then(() =>
        reject(new DarkbloomError('runner_died', `The runner ended while it loaded the model: ${this.#how}.`)),
      );
      const onAbort = () => reject(new DarkbloomError('cancelled', 'request cancelled'));
      signal.addEventListener('abort', onAbort, { once: true });
      this.#forgetSignal = () => signal.removeEventListener('abort', onAbort);
    });
    this.#post(order);
  }

  /** Starts a process and loads the model into it. The signal is listened to only until then.
   *  @throws DarkbloomError `model_corrupt` when the runtime refuses the file, `runner_died`, `cancelled`. */
  static async start(order: LoadOrder, options: RunnerOptions): Promise<RunnerProcess> {
    const runner = new RunnerProcess(order, options);
    try {
      runner.#facts = await runner.#ready;
      runner.#memoryBytes = runner.#facts.memoryBytes;
      return runner;
    } catch (error) {
      await runner.close();
      throw error;
    } finally {
      runner.#forgetSignal();
    }
  }

  get facts(): ModelFacts {
    if (this.#facts === undefined) throw new TypeError('The runner is not ready.');
    return this.#facts;
  }

  /** The most that the process was seen to take with the model in it, bytes. */
  get memoryBytes(): number {
    return this.#memoryBytes;
  }

  /** One answer. Reading slower than the model writes makes the model wait. */
  async *generate(
    request: ChatRequest,
    signal: AbortSignal,
    onTiming: (timing: Timing) => void,
  ): AsyncGenerator<ChatEvent> {
    if (this.#how !== undefined) throw died();
    const id = this.#nextId++;
    const answer: Answer = new Mailbox(READ_AHEAD + MAX_MESSAGES_PER_TOKEN + BEGINNING_AND_END);
    this.#answers.set(id, answer);
    const cancel = () => this.#post({ type: 'cancel', id });
    signal.addEventListener('abort', cancel, { once: true });
    let ended = false;
    try {
      const { model: _model, owner: _owner, ...order } = request;
      this.#post({ type: 'generate', id, ...order });
      if (signal.aborted) cancel();
      let unacknowledged = 0;
      for await (const message of answer) {
        ended = message.type === 'done' || message.type === 'failed';
        yield toEvent(message, onTiming);
        if (!isContent(message)) continue;
        if (++unacknowledged < ACK_EVERY) continue;
        this.#post({ type: 'ack', id, messages: unacknowledged });
        unacknowledged = 0;
      }
    } finally {
      signal.removeEventListener('abort', cancel);
      // A reader that left before the end: the row must not write for nobody.
      if (!ended) cancel();
      await this.#untilEnded(answer, ended);
      this.#answers.delete(id);
    }
  }

  /** One operation. An abort is told to the runner; the answer to it is waited for.
   *  @throws DarkbloomError of the runner's refusal, `cancelled`, `runner_died`. */
  async operate(operation: Operation, signal: AbortSignal): Promise<OperationResult> {
    if (this.#how !== undefined) throw died();
    const id = this.#nextId++;
    const cancel = () => this.#post({ type: 'cancel', id });
    signal.addEventListener('abort', cancel, { once: true });
    try {
      return await new Promise<OperationResult>((resolve, reject) => {
        this.#operations.set(id, { resolve, reject });
        this.#post(operationOrder(operation, id));
        if (signal.aborted) cancel();
      });
    } finally {
      this.#operations.delete(id);
      signal.removeEventListener('abort', cancel);
    }
  }

  #conclude(message: OperationMessage): void {
    const asked = this.#operations.get(message.id);
    if (message.type === 'counted') asked?.resolve({ op: 'count', promptTokens: message.promptTokens });
    else if (message.type === 'embedded') {
      asked?.resolve({ op: 'embed', promptTokens: message.promptTokens, vectors: message.vectors });
    } else asked?.reject(refusal(message));
  }

  /** The row is free only when the runner said so. */
  async #untilEnded(answer: Answer, ended: boolean): Promise<void> {
    if (ended) return;
    try {
      for await (const message of answer) if (message.type === 'done' || message.type === 'failed') return;
    } catch {
      // The runner died: its rows are gone with it.
    }
  }

  #post(message: EngineMessage): void {
    if (this.#how === undefined && this.#child.connected)
      this.#child.send(message, (error) => {
        if (error !== null) this.#log.debug('a message to a runner that was ending was dropped');
      });
  }

  #deliver(message: RequestMessage): void {
    const answer = this.#answers.get(message.id);
    if (answer === undefined) return;
    if (!answer.put(message)) answer.fail(new DarkbloomError('internal', 'The runner sent more than was asked for.'));
    if (message.type === 'done' || message.type === 'failed') answer.end();
  }

  get #requests(): number {
    return this.#answers.size + this.#operations.size;
  }

  /** It has something to do: to load, to write for a reader who waits, to end an operation. */
  get #owes(): boolean {
    if (this.#facts === undefined || this.#operations.size > 0) return true;
    return [...this.#answers.values()].some(({ awaited }) => awaited);
  }

  #onExit(how: string): void {
    if (this.#how !== undefined) return;
    this.#how = this.#why ?? how;
    this.#watch[Symbol.dispose]();
    if (this.#requests > 0) this.#log.error({ how: this.#how, requests: this.#requests }, 'runner died');
    for (const answer of this.#answers.values()) answer.fail(died());
    for (const { reject } of this.#operations.values()) reject(died());
  }

  /** Frees the model and ends the process; kills it if it does not. */
  async close(): Promise<void> {
    if (this.#how !== undefined) return;
    this.#child.kill('SIGTERM');
    const timer = setTimeout(() => this.#kill('it did not end when it was told to'), CLOSE_TIMEOUT_MS);
    await this.exited;
    clearTimeout(timer);
  }

  /** Nobody waits for longer than this for a process that the system cannot end either. */
  #kill(why: string): void {
    this.#why ??= why;
    this.#log.error({ why, requests: this.#requests }, 'runner is ended');
    this.#child.kill('SIGKILL');
    const timer = setTimeout(() => this.#giveUp(), KILL_TIMEOUT_MS);
    void this.exited.then(() => clearTimeout(timer));
  }
}

function died(): DarkbloomError {
  return new DarkbloomError(
    'runner_died',
    'The process that ran the model ended. Send the request again: it is started anew.',
  );
}

function operationOrder(operation: Operation, id: number): EngineMessage {
  if (operation.op === 'embed') return { type: 'embed', id, inputs: operation.request.inputs };
  const { model: _model, owner: _owner, ...order } = operation.request;
  return { type: 'count', id, ...order };
}

/** What the runner says of a request that it cannot answer. */
function refusal({ code, message, param }: Extract<OperationMessage, { type: 'refused' }>): DarkbloomError {
  if (code !== 'internal') return new DarkbloomError(code, message, param === undefined ? {} : { param });
  return new DarkbloomError('internal', 'The model failed on this request.', { cause: new Error(message) });
}

/** @throws DarkbloomError for `failed`, except for a cancellation. */
function toEvent(message: RequestMessage, onTiming: (timing: Timing) => void): ChatEvent {
  switch (message.type) {
    case 'started':
      return { type: 'started', promptTokens: message.promptTokens, cachedTokens: message.cachedTokens };
    case 'text': {
      const { text, logprobs } = message;
      return { type: 'text', text, ...(logprobs === undefined ? {} : { logprobs }) };
    }
    case 'reasoning':
      return { type: 'reasoning', text: message.text };
    case 'tool_call':
      return { type: 'tool_call', index: message.index, id: message.callId, name: message.name };
    case 'tool_arguments':
      return { type: 'tool_arguments', index: message.index, text: message.text };
    case 'done': {
      const { finishReason, stopSequence, promptTokens, cachedTokens, completionTokens, reasoningTokens } = message;
      const read = promptTokens - cachedTokens;
      // the end of a prompt that was mostly there says nothing about how fast prompts are read
      onTiming({ ...message, promptTokens: cachedTokens > 0 && read < TELLING_TOKENS ? 0 : read });
      const usage = { promptTokens, cachedTokens, completionTokens, reasoningTokens };
      return { type: 'done', finishReason, stopSequence, usage };
    }
    case 'failed': {
      const { code, param, promptTokens, cachedTokens, completionTokens } = message;
      if (code === 'cancelled') return { type: 'cancelled', usage: { promptTokens, cachedTokens, completionTokens } };
      if (code === 'internal') {
        throw new DarkbloomError('internal', 'The model failed on this request.', {
          cause: new Error(message.message),
        });
      }
      throw new DarkbloomError(code, message.message, param === undefined ? {} : { param });
    }
    default:
      return message satisfies never;
  }
}
