import { expect, test } from 'vitest';
import { killCoordinator } from '../support/coordinator-kills.js';

/** `npm run test:coordinator-kills` tries many more instants. */
const KILLS = 6;

test(`killed ${KILLS} times in paid traffic, a coordinator loses no micro-dollar and charges nothing twice`, async () => {
  const { kills, answered, unpaid, discrepancies, openHolds, lost } = await killCoordinator(7, KILLS);
  expect(kills.filter((kill) => kill.discrepancies + kill.openAfterStart > 0)).toEqual([]);
  expect({ unpaid, discrepancies, openHolds, lost }).toEqual({ unpaid: 0, discrepancies: 0, openHolds: 0, lost: 0n });
  expect(answered).toBeGreaterThan(0);
  expect(kills.some((kill) => kill.openHolds > 0)).toBe(true); // else it was killed at rest
}, 60_000);
