import { expect, test } from 'vitest';
import { killAndResume } from '../support/kill-points.js';

/** `npm run test:download-kills`: many more points than download.test.ts tries. */
const POINTS = 50;
const SEED = 20_261;

test(`killed at ${POINTS} seeded points, a download goes on and ends right`, async () => {
  const stories = await killAndResume(SEED, POINTS);
  for (const { point, afterKill, afterResume, resumedBytes, totalBytes } of stories) {
    const share = `${((100 * resumedBytes) / totalBytes).toFixed(0)} %`;
    say(`killed at ${point.toFixed(3)}: file ${afterKill}; then ${share} asked for again: ${afterResume}`);
  }
  const right = stories.filter(({ afterResume }) => afterResume === 'right').length;
  const wrongInPlace = stories.filter(({ afterKill }) => afterKill === 'wrong').length;
  say(`${stories.length} points tried, ${right} ended right, ${wrongInPlace} had a wrong file in its place`);
  expect({ tried: stories.length, right, wrongInPlace }).toEqual({ tried: POINTS, right: POINTS, wrongInPlace: 0 });
});

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
