import {
  EngineMessage,
  UnreadableOrder,
  type CountOrder,
  type LoadOrder,
  type RunnerMessage,
} from '../runner-protocol/messages.js';
import { Embeddings } from './embeddings.js';
import { openEmbedder, type Embedder } from './llama-embedder.js';
import { openRuntime } from './llama-runtime.js';
import type { Runtime } from './runtime.js';
import { failureOf, Sequences } from './sequences.js';
import { warmUp } from './warm-up.js';

/**
 * The child process: one model, its rows, its loop. It ends when its parent does (the channel closes), whatever it was
 * doing; the system then takes back all memory at once.
 */

const END_TIMEOUT_MS = 3_000;

let runtime: Runtime | Embedder | undefined;
let sequences: Sequences | undefined;
let embeddings: Embeddings | undefined;

process.on('message', (raw) => {
  const message = EngineMessage.safeParse(raw).data;
  switch (message?.type) {
    case 'load':
      void load(message);
      return;
    case 'generate':
      sequences?.start(message);
      return;
    case 'count':
      void count(message);
      return;
    case 'embed':
      void embeddings?.answer(message).then(send);
      return;
    case 'ack':
      sequences?.acknowledge(message.id, message.messages);
      return;
    case 'cancel':
      sequences?.cancel(message.id);
      embeddings?.cancel(message.id);
      return;
    case undefined:
      refuse(raw);
  }
});
process.on('disconnect', () => void end());
// The terminal's Ctrl-C reaches the whole group; the parent decides when a runner ends.
process.on('SIGINT', () => undefined);
process.on('SIGTERM', () => void end());
process.on('uncaughtExceptionMonitor', ({ name, stack = '' }) => {
  const places = stack.split('\n').filter((line) => line.startsWith('    at ')); // the message may quote a request
  send({ type: 'log', line: [name, ...places].join('\n') });
});

async function load(order: LoadOrder): Promise<void> {
  const progress = () => send({ type: 'progress' });
  const log = (line: string) => {
    if (runtime === undefined) send({ type: 'log', line });
  };
  try {
    if (order.task === 'vectors') {
      const embedder = await openEmbedder(order, log, progress);
      runtime = embedder;
      embeddings = new Embeddings(embedder, progress);
    } else {
      const answering = await openRuntime(order, log, progress);
      runtime = answering; // it is closed also when it ends in what follows
      if (answering.facts.gpuLayers > 0) await warmUp(answering);
      sequences = new Sequences(answering, order.prefixMemory, (messages) => send({ type: 'step', messages }));
    }
    send({ type: 'ready', facts: runtime.facts });
  } catch (error) {
    send({ type: 'load_failed', message: error instanceof Error ? error.message : 'unknown' });
  }
}

/** An order that cannot be read is refused, and the others go on. */
function refuse(raw: unknown): void {
  const order = UnreadableOrder.safeParse(raw).data;
  if (order === undefined) process.exit(1); // not the parent we know; it will start another runner
  const { type, id } = order;
  const failure = { id, code: 'internal', message: 'The order does not fit the schema of orders.' } as const;
  const counts = { promptTokens: 0, cachedTokens: 0, completionTokens: 0 };
  if (type === 'generate') send({ type: 'step', messages: [{ type: 'failed', ...failure, ...counts }] });
  else send({ type: 'refused', ...failure });
}

async function count(order: CountOrder): Promise<void> {
  const { id } = order;
  try {
    if (sequences !== undefined) send({ type: 'counted', id, promptTokens: await sequences.count(order) });
  } catch (error) {
    send({ type: 'refused', id, ...failureOf(error) });
  }
}

function send(message: RunnerMessage): void {
  process.send?.(message);
  const answered = message.type === 'step' && message.messages.some(({ type }) => type === 'done');
  if (!answered && message.type !== 'embedded') return;
  const atLeast = runtime?.facts.memoryBytes ?? 0;
  process.send?.({ type: 'memory', bytes: Math.max(atLeast, process.memoryUsage.rss()) } satisfies RunnerMessage);
}

/** Frees the model first: a Metal process that exits with an open context aborts. */
async function end(): Promise<void> {
  setTimeout(() => process.kill(process.pid, 'SIGKILL'), END_TIMEOUT_MS).unref();
  await runtime?.close();
  process.exit(0);
}
