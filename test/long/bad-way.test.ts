import { expect, test } from 'vitest';
import { tellStory } from '../support/bad-way-story.js';

/** `npm run test:bad-way`: many more stories than bad-way.test.ts tells. */
const STORIES = 300;
const FIRST = 1_000;

test(`${STORIES} seeded stories behind a bad way`, async () => {
  const bad: string[] = [];
  const statuses = new Map<string, number>();
  const struck = new Map<string, number>();
  for (let seed = FIRST; seed < FIRST + STORIES; seed++) {
    const { fates, asked, wrong } = await tellStory(seed);
    if (wrong.length > 0) say(`${seed} (${fates.join(', ')}): ${wrong.join('; ')}`);
    if (wrong.length > 0) bad.push(`${seed} (${fates.join(', ')}): ${wrong.join('; ')}`);
    for (const fate of fates) struck.set(fate, (struck.get(fate) ?? 0) + 1);
    for (const { status, complete, left } of asked) {
      const how = complete ? 'complete' : left ? 'left' : `${status} without an end`;
      statuses.set(how, (statuses.get(how) ?? 0) + 1);
    }
  }
  say(`connections: ${told(struck)}`);
  say(`requests: ${told(statuses)}`);
  expect(bad).toEqual([]);
});

function told(counts: ReadonlyMap<string, number>): string {
  return [...counts].map(([what, count]) => `${count} ${what}`).join(', ');
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
