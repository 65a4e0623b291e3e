import { toFailure } from '../errors.js';
import type { Operator } from '../inference/operations.js';
import { whose, type CountedBy } from './counted-generator.js';

/** The engine's operations, kept as `countedGenerator` keeps answers. Counting a prompt reads nothing and is not in the
 *  journal. */
export function countedOperator(operator: Operator, { journal, errors, aliasOf }: CountedBy): Operator {
  return {
    async *operate(operation, signal) {
      const { model, owner } = operation.request;
      const counted = { model: aliasOf(model) ?? '', for: whose(owner) };
      let open = false; // vectors that were taken up, and not ended yet
      try {
        for await (const event of operator.operate(operation, signal)) {
          if (event.type === 'accepted') open = operation.op === 'embed';
          else if (open) {
            open = false;
            const usage = { promptTokens: event.result.promptTokens, completionTokens: 0 };
            journal.count({ ...counted, end: 'completed', usage });
          }
          yield event;
        }
      } catch (error) {
        const failure = toFailure(error);
        errors.add(failure);
        if (open) journal.count({ ...counted, end: failure.code === 'cancelled' ? 'cancelled' : 'failed' });
        open = false;
        throw error;
      } finally {
        if (open) journal.count({ ...counted, end: 'cancelled' }); // its reader left before the end
      }
    },
  };
}
