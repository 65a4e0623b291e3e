import { expect, test } from 'vitest';
import { tellFleetStory } from '../support/fleet-story.js';

/** `npm run test:fleet`: as fleet.test.ts, for two minutes. */
test('16 clients of two accounts, three daemons, two minutes of machines that come and go', async () => {
  const { outcomes, events, wrong } = await tellFleetStory({
    seed: 20_262,
    clients: 16,
    durationMs: 120_000,
    eventMs: 4_000,
  });
  process.stdout.write(`${events.length} events: ${events.join(', ')}\n`);
  process.stdout.write(`requests: ${[...outcomes].map(([what, count]) => `${count} ${what}`).join(', ')}\n`);
  expect(wrong).toEqual([]);
  expect(outcomes.get('complete') ?? 0).toBeGreaterThan(100);
});
