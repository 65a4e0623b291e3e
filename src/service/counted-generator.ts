import { toFailure } from '../errors.js';
import type { Generator } from '../inference/types.js';
import type { RecentErrors } from './recent-errors.js';
import type { UsageJournal } from './usage-journal.js';
import type { UsageRow } from './usage-rows.js';

export interface CountedBy {
  journal: UsageJournal;
  errors: RecentErrors;
  /** What a model is called in the journal, for a name that a request used. */
  aliasOf: (name: string) => string | undefined;
}

/** The engine, with what became of its requests kept: counts in the journal, errors for `status`. A request counts when
 *  a model has taken it up, at its end; one that was refused (queue full, no such model) does not. */
export function countedGenerator(generator: Generator, { journal, errors, aliasOf }: CountedBy): Generator {
  return {
    async *generate(request, signal) {
      const counted = { model: aliasOf(request.model) ?? '', for: whose(request.owner) };
      let open = false; // taken up, and not ended yet
      try {
        for await (const event of generator.generate(request, signal)) {
          if (event.type === 'accepted') open = true;
          if (event.type === 'done' || event.type === 'cancelled') {
            open = false;
            journal.count({ ...counted, end: event.type === 'done' ? 'completed' : 'cancelled', usage: event.usage });
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

export function whose(owner: boolean | undefined): UsageRow['for'] {
  return owner === undefined ? 'unknown' : owner ? 'own' : 'others';
}
