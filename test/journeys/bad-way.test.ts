import { expect, test } from 'vitest';
import { tellStory } from '../support/bad-way-story.js';

/** `npm run test:bad-way` tells 300 of these. */
const STORIES = 12;

test.each(Array.from({ length: STORIES }, (_, index) => index + 1))(
  'behind a bad way nothing is stuck, leaked or charged wrongly, and the provider comes back: story %i',
  async (seed) => {
    const { fates, wrong } = await tellStory(seed);
    expect({ seed, fates, wrong }).toEqual({ seed, fates, wrong: [] });
  },
);
