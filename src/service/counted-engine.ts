import { toFailure } from '../errors.js';
import type { Operator } from '../inference/operations.js';
import type { Generator } from '../inference/types.js';
import type { RecentErrors } from './recent-errors.js';
import type { UsageJournal } from './usage-journal.js';
import type { UsageRow } from './usage-rows.js';

interface CountedBy {
  journal: UsageJournal;
  errors: RecentErrors;
  /** What a model is called in the journal, for a name that a request used. */
  aliasOf: (name: string) => string | undefined;
}

type Counted = Parameters<UsageJournal['count']>[0];

/** What an event says of its request: taken up, or ended so. `undefined`: nothing. */
type Step = 'taken up' | Pick<Counted, 'end' | 'usage'> | undefined;

/** The engine, with what became of its requests kept: counts in the journal, errors for `status`. A request counts when
 *  a model has taken it up, at its end; one that was refused (queue full, no such model) does not. */
export function countedGenerator(generator: Generator, by: CountedBy): Generator {
  return {
    generate: (request, signal) =>
      counted(generator.generate(request, signal), request, by, (event) => {
        if (event.type === 'accepted') return 'taken up';
        if (event.type === 'done') return { end: 'completed', usage: event.usage };
        return event.type === 'cancelled' ? { end: 'cancelled', usage: event.usage } : undefined;
      }),
  };
}

/** The same of operations. Counting a prompt reads nothing and is not in the journal. */
export function countedOperator(operator: Operator, by: CountedBy): Operator {
  return {
    operate: (operation, signal) =>
      counted(operator.operate(operation, signal), operation.request, by, (event) => {
        if (operation.op === 'count') return undefined;
        if (event.type === 'accepted') return 'taken up';
        return { end: 'completed', usage: { promptTokens: event.result.promptTokens, completionTokens: 0 } };
      }),
  };
}

async function* counted<Event>(
  events: AsyncIterable<Event>,
  { model, owner }: { model: string; owner?: boolean | undefined },
  { journal, errors, aliasOf }: CountedBy,
  stepOf: (event: Event) => Step,
): AsyncGenerator<Event> {
  const about = { model: aliasOf(model) ?? '', for: whose(owner) };
  let open = false; // taken up, and not ended yet
  try {
    for await (const event of events) {
      const step = stepOf(event);
      if (step === 'taken up') open = true;
      else if (step !== undefined) {
        open = false;
        journal.count({ ...about, ...step });
      }
      yield event;
    }
  } catch (error) {
    const failure = toFailure(error);
    errors.add(failure);
    if (open) journal.count({ ...about, end: failure.code === 'cancelled' ? 'cancelled' : 'failed' });
    open = false;
    throw error;
  } finally {
    if (open) journal.count({ ...about, end: 'cancelled' }); // its reader left before the end
  }
}

function whose(owner: boolean | undefined): UsageRow['for'] {
  return owner === undefined ? 'unknown' : owner ? 'own' : 'others';
}
