import { expect, test } from 'vitest';
import { tellFleetStory } from '../support/fleet-story.js';

/** `npm run test:fleet` does this for two minutes with 16 clients. */
test('while machines are killed, drained and added, every request is answered or told why not, and the books are exact', async () => {
  const { outcomes, wrong } = await tellFleetStory({ seed: 7, clients: 6, durationMs: 8_000, eventMs: 1_500 });
  expect(wrong).toEqual([]);
  expect(outcomes.get('complete') ?? 0).toBeGreaterThan(10);
});
