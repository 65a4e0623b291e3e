import type { TokenLogprob } from '../../src/inference/types.js';
import type { Runtime } from '../../src/runner/runtime.js';
import { Sequences } from '../../src/runner/sequences.js';
import type { GenerateOrder, RequestMessage } from '../../src/runner-protocol/messages.js';

export interface Answer {
  text: string;
  texts: readonly string[];
  logprobs: readonly TokenLogprob[];
  end: Extract<RequestMessage, { type: 'done' | 'failed' }>;
}

/** Runs requests through the runner's loop, as many at once as the runtime has rows or `together` says. */
export async function runOrders(
  runtime: Runtime,
  orders: readonly Omit<GenerateOrder, 'id'>[],
  together = runtime.facts.rows,
): Promise<Answer[]> {
  const texts = orders.map((): string[] => []);
  const logprobs = orders.map((): TokenLogprob[] => []);
  const ends = new Map<number, Answer['end']>();
  let heard: () => void = () => undefined;
  const sequences = new Sequences(runtime, undefined, (messages) => {
    for (const message of messages) {
      if (message.type === 'text') {
        sequences.acknowledge(message.id, 1);
        texts[message.id]?.push(message.text);
        logprobs[message.id]?.push(...(message.logprobs ?? []));
      }
      if (message.type === 'done' || message.type === 'failed') ends.set(message.id, message);
    }
    heard();
  });
  for (let next = 0; ends.size < orders.length;) {
    for (let order = orders[next]; order !== undefined && next - ends.size < together; order = orders[++next])
      sequences.start({ ...order, id: next });
    if (ends.size < orders.length) await new Promise<void>((resolve) => (heard = resolve));
  }
  return orders.map((_, id) => {
    const end = ends.get(id);
    if (end === undefined) throw new Error(`Request ${id} has no end.`);
    return { text: texts[id]?.join('') ?? '', texts: texts[id] ?? [], logprobs: logprobs[id] ?? [], end };
  });
}
