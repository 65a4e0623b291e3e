import { EngineMessage, type LoadOrder, type RunnerMessage } from '../runner-protocol/messages.js';
import { openRuntime, type Runtime } from './llama-runtime.js';
import { Sequences } from './sequences.js';

/**
 * The child process: one model, its rows, its loop. It ends when its parent does (the channel closes), whatever it was
 * doing; the system then takes back all memory at once.
 */

const END_TIMEOUT_MS = 3_000;

let runtime: Runtime | undefined;
let sequences: Sequences | undefined;

process.on('message', (raw) => {
  const message = EngineMessage.safeParse(raw).data;
  switch (message?.type) {
    case 'load':
      void load(message);
      return;
    case 'generate':
      sequences?.start(message);
      return;
    case 'ack':
      sequences?.acknowledge(message.id, message.messages);
      return;
    case 'cancel':
      sequences?.cancel(message.id);
      return;
    case undefined:
      process.exit(1); // not the parent we know; it will start another runner
  }
});
process.on('disconnect', () => void end());
// The terminal's Ctrl-C reaches the whole group; the parent decides when a runner ends.
process.on('SIGINT', () => undefined);
process.on('SIGTERM', () => void end());

async function load(order: LoadOrder): Promise<void> {
  try {
    runtime = await openRuntime(order, (line) => process.stderr.write(`${line}\n`));
    sequences = new Sequences(runtime, order.prefixStoreBytes ?? 0, (messages) => send({ type: 'step', messages }));
    send({ type: 'ready', facts: runtime.facts });
  } catch (error) {
    send({ type: 'load_failed', message: error instanceof Error ? error.message : 'unknown' });
  }
}

function send(message: RunnerMessage): void {
  process.send?.(message);
  if (message.type !== 'step' || !message.messages.some(({ type }) => type === 'done')) return;
  const atLeast = runtime?.facts.memoryBytes ?? 0;
  process.send?.({ type: 'memory', bytes: Math.max(atLeast, process.memoryUsage.rss()) } satisfies RunnerMessage);
}

/** Frees the model first: a Metal process that exits with an open context aborts. */
async function end(): Promise<void> {
  setTimeout(() => process.kill(process.pid, 'SIGKILL'), END_TIMEOUT_MS).unref();
  await runtime?.close();
  process.exit(0);
}
