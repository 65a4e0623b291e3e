import { expect, test } from 'vitest';
import { killCoordinator } from '../support/coordinator-kills.js';

/** `npm run test:coordinator-kills`: many more instants than test/coordinator/kills.test.ts tries. */
const KILLS = 200;
const SEED = 20_262;

test(`killed at ${KILLS} seeded instants in paid traffic, a coordinator's books stay exact`, async () => {
  const { kills, ...end } = await killCoordinator(SEED, KILLS);
  const withHolds = kills.filter(({ openHolds }) => openHolds > 0);
  const orphans = kills.reduce((sum, { openHolds }) => sum + openHolds, 0);
  const wrong = kills.filter(({ discrepancies, openAfterStart }) => discrepancies + openAfterStart > 0).length;
  say(
    `${kills.length} kills; at ${withHolds.length} of them requests were on hold, ${orphans} in all, given back at the start`,
  );
  say(`${end.answered} answers reached their client, ${end.settled} requests are settled`);
  say(`${wrong} times the books were wrong; at the end ${end.discrepancies} discrepancies, ${end.lost} micro-USD lost`);
  expect({ tried: kills.length, wrong }).toEqual({ tried: KILLS, wrong: 0 });
  expect(end).toMatchObject({ unpaid: 0, discrepancies: 0, openHolds: 0, lost: 0n });
  expect(withHolds.length).toBeGreaterThan(KILLS / 10);
});

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
