import { expect, test } from 'vitest';
import { windowStart, type SpendingWindow } from '../../src/coordinator/spending-window.js';

test.each<[SpendingWindow | undefined, string, string]>([
  [undefined, '2026-06-21T15:04:05Z', '1970-01-01T00:00:00.000Z'],
  ['daily', '2026-06-21T23:59:59.999Z', '2026-06-21T00:00:00.000Z'],
  ['daily', '2026-06-22T00:00:00Z', '2026-06-22T00:00:00.000Z'],
  ['weekly', '2026-06-21T23:59:59.999Z', '2026-06-15T00:00:00.000Z'], // a Sunday
  ['weekly', '2026-06-22T00:00:00Z', '2026-06-22T00:00:00.000Z'], // a Monday
  ['weekly', '2027-01-01T12:00:00Z', '2026-12-28T00:00:00.000Z'],
  ['monthly', '2026-06-30T23:59:59.999Z', '2026-06-01T00:00:00.000Z'],
  ['monthly', '2028-02-29T12:00:00Z', '2028-02-01T00:00:00.000Z'],
])('the %s window of %s began at %s', (window, now, start) => {
  expect(new Date(windowStart(window, Date.parse(now))).toISOString()).toBe(start);
});
