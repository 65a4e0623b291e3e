import { expect, test } from 'vitest';
import { DarkbloomError } from '../../src/errors.js';
import { GREEDY, PLAIN, type ChatRequest, type Generator } from '../../src/inference/types.js';
import { silentLog } from '../../src/log.js';
import { countedGenerator } from '../../src/service/counted-engine.js';
import { RecentErrors } from '../../src/service/recent-errors.js';
import { UsageJournal } from '../../src/service/usage-journal.js';
import { ManualClock } from '../support/manual-clock.js';
import { ScriptedGenerator } from '../support/scripted-generators.js';
import { TemporaryHome } from '../support/temporary-home.js';

const request: ChatRequest = {
  model: 'local/tiny-f16',
  messages: [{ role: 'user', content: 'zanthoxylum' }],
  sampling: GREEDY,
  stop: [],
  ...PLAIN,
};

/** What the journal says after one request; its reader leaves after `reads` events, and `abort` aborts it at once. */
async function countsOf(
  generator: Generator,
  asked: Partial<ChatRequest> = {},
  { reads = Infinity, abort = false } = {},
) {
  using temporary = new TemporaryHome();
  const { usage: path, usageSetAside: setAsidePath } = temporary.home;
  const clock = new ManualClock();
  const journal = UsageJournal.open({ path, setAsidePath, clock, log: silentLog() });
  const errors = new RecentErrors(clock);
  const aliasOf = (name: string) => (name === request.model ? 'tiny' : undefined);
  const counted = countedGenerator(generator, { journal, errors, aliasOf });
  const signal = abort ? AbortSignal.abort() : new AbortController().signal;
  let read = 0;
  try {
    for await (const _event of counted.generate({ ...request, ...asked }, signal)) if (++read === reads) break;
  } catch (error) {
    expect(error).toBeInstanceOf(DarkbloomError);
  }
  journal.close();
  return { rows: journal.rows, errors: errors.list.map(({ code }) => code) };
}

const words = { says: ['One', 'two'] };

test.each([
  [true, 'own'],
  [false, 'others'],
  [undefined, 'unknown'],
])('a request whose owner mark is %s is counted for %s, by the alias of its model', async (owner, who) => {
  const { rows } = await countsOf(new ScriptedGenerator(words), owner === undefined ? {} : { owner });
  expect(rows).toMatchObject([{ model: 'tiny', for: who, completed: 1, prompt_tokens: 11, completion_tokens: 2 }]);
});

test('a cancelled request counts with the tokens that were written', async () => {
  const { rows, errors } = await countsOf(new ScriptedGenerator(words), {}, { abort: true });
  expect(rows).toMatchObject([{ completed: 0, cancelled: 1, prompt_tokens: 11, completion_tokens: 2 }]);
  expect(errors).toEqual([]);
});

test('a reader that leaves before the end has cancelled its request; one that leaves after the end has not', async () => {
  const left = await countsOf(new ScriptedGenerator(words), {}, { reads: 3 });
  expect(left.rows).toMatchObject([{ completed: 0, cancelled: 1, prompt_tokens: 0, completion_tokens: 0 }]);
  const atEnd = await countsOf(new ScriptedGenerator(words), {}, { reads: 5 });
  expect(atEnd.rows).toMatchObject([{ completed: 1, cancelled: 0 }]);
});

test('a request that breaks counts as failed, once, without tokens', async () => {
  const breaksWith = new DarkbloomError('runner_died', 'gone');
  const { rows, errors } = await countsOf(new ScriptedGenerator({ ...words, breaksWith }));
  expect(rows).toMatchObject([{ completed: 0, cancelled: 0, failed: 1, prompt_tokens: 0, completion_tokens: 0 }]);
  expect(errors).toEqual(['runner_died']);
});

test('a request that no model took up is not counted: the name that it asked for is nowhere', async () => {
  const breaksWith = new DarkbloomError('model_not_found', 'no such model');
  const { rows, errors } = await countsOf(new ScriptedGenerator({ breaksWith }), { model: 'zanthoxylum' });
  expect(rows).toEqual([]);
  expect(errors).toEqual(['model_not_found']);
});
