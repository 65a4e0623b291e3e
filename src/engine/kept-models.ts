import { DarkbloomError } from '../errors.js';
import { gib } from '../util/byte-words.js';
import { limitOrigin, type MemoryBudget } from './memory-budget.js';

const KEY = 'models.keep_loaded';

interface Named {
  id: string;
  alias: string;
}

/** Build ids of the models to keep.
 *  @throws DarkbloomError `config_invalid` for a name that no model has. */
export function keptModels(models: readonly Named[], names: readonly string[]): ReadonlySet<string> {
  const ids = names.map((name) => {
    const found = models.find(({ id, alias }) => id === name || alias === name);
    if (found !== undefined) return found.id;
    const known = models.map(({ alias }) => alias).join(', ');
    const message = `${KEY}: this machine has no model named '${name}'. It has: ${known}.`;
    throw new DarkbloomError('config_invalid', message, { param: KEY });
  });
  return new Set(ids);
}

/** The models to keep must fit together: otherwise one of them would never be there.
 *  @throws DarkbloomError `config_invalid` with the sums. */
export function refuseTooManyKept(
  kept: readonly { alias: string; bytes: number }[],
  budget: MemoryBudget,
  maxLoadedModels: number,
): void {
  if (kept.length > maxLoadedModels) {
    const message = `${KEY}: ${kept.length} models are to be kept, but engine.max_loaded_models is ${maxLoadedModels}.`;
    throw new DarkbloomError('config_invalid', message, { param: KEY });
  }
  const needed = kept.reduce((sum, { bytes }) => sum + bytes, 0);
  if (needed <= budget.limitBytes) return;
  const sums = kept.map(({ alias, bytes }) => `${alias} ${gib(bytes)} GiB`).join(' + ');
  throw new DarkbloomError(
    'config_invalid',
    `${KEY}: these models do not fit together: ${sums} = ${gib(needed)} GiB, and all models may take ` +
      `${gib(budget.limitBytes)} GiB (${limitOrigin(budget)}). Keep fewer, or lower engine.slots or engine.context_tokens.`,
    { param: KEY },
  );
}
