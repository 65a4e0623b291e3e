import { expect, test } from 'vitest';
import { DarkbloomError } from '../../src/errors.js';
import type { Operation } from '../../src/inference/operations.js';
import { GREEDY, PLAIN } from '../../src/inference/types.js';
import { silentLog } from '../../src/log.js';
import { countedOperator } from '../../src/service/counted-engine.js';
import { RecentErrors } from '../../src/service/recent-errors.js';
import { UsageJournal } from '../../src/service/usage-journal.js';
import { ManualClock } from '../support/manual-clock.js';
import { ScriptedGenerator } from '../support/scripted-generators.js';
import { TemporaryHome } from '../support/temporary-home.js';

const EMBED: Operation = { op: 'embed', request: { model: 'local/v', inputs: ['a'], owner: true } };
const COUNT: Operation = {
  op: 'count',
  request: { model: 'local/v', messages: [], sampling: GREEDY, stop: [], ...PLAIN, owner: true },
};
const VECTORS = new ScriptedGenerator({ result: { op: 'embed', promptTokens: 7, vectors: [] } });

/** What the journal and the errors say after one operation; its reader leaves after `reads` events. */
async function traces(generator: ScriptedGenerator, operation: Operation, reads = Infinity) {
  using temporary = new TemporaryHome();
  const { usage: path, usageSetAside: setAsidePath } = temporary.home;
  const clock = new ManualClock();
  const journal = UsageJournal.open({ path, setAsidePath, clock, log: silentLog() });
  const errors = new RecentErrors(clock);
  const counted = countedOperator(generator, { journal, errors, aliasOf: () => 'v' });
  let read = 0;
  try {
    for await (const _event of counted.operate(operation, new AbortController().signal)) if (++read === reads) break;
  } catch (error) {
    expect(error).toBeInstanceOf(DarkbloomError);
  }
  journal.close();
  return { rows: journal.rows, errors: errors.list.map(({ code }) => code) };
}

test('vectors are counted with what was read', async () => {
  const { rows, errors } = await traces(VECTORS, EMBED);
  expect(rows).toMatchObject([{ model: 'v', for: 'own', completed: 1, prompt_tokens: 7, completion_tokens: 0 }]);
  expect(errors).toEqual([]);
});

test('vectors whose reader left are counted as cancelled', async () => {
  expect((await traces(VECTORS, EMBED, 1)).rows).toMatchObject([{ completed: 0, cancelled: 1, prompt_tokens: 0 }]);
});

test('counting a prompt leaves nothing, and what it breaks with is told', async () => {
  const counting = new ScriptedGenerator({ result: { op: 'count', promptTokens: 7 } });
  expect(await traces(counting, COUNT)).toEqual({ rows: [], errors: [] });
  const breaking = new ScriptedGenerator({ breaksWith: new DarkbloomError('over_capacity', 'full') });
  expect(await traces(breaking, COUNT)).toEqual({ rows: [], errors: ['over_capacity'] });
});
