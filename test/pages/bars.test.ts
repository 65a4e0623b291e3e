import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { barsOf, type UsageRow } from '../../pages/bars.js';

beforeEach(() => void vi.stubEnv('TZ', 'Europe/Berlin'));
afterEach(() => void vi.unstubAllEnvs());

const row = (at: string, tokens = 1): UsageRow => ({
  at,
  model: 'm',
  requests: 1,
  prompt_tokens: tokens,
  completion_tokens: tokens,
  cost_micro_usd: 2,
});

test('days are those of the calendar, also the one that has 25 hours', () => {
  const rows = [
    row('2026-10-18T21:45:00Z'), // the last quarter before the seven days
    row('2026-10-24T21:45:00Z'), // 23:45 on the 24th
    row('2026-10-24T22:00:00Z', 10), // 00:00 on the 25th
    row('2026-10-25T22:45:00Z', 20), // 23:45 on the 25th, an hour nearer to UTC
    row('2026-10-25T23:00:00Z', 40), // 00:00 on the 26th
  ];
  const bars = barsOf(rows, 'week', new Date('2026-10-26T12:00:00Z'));
  expect(bars.map(({ label, prompt }) => `${label}: ${prompt}`)).toEqual([
    '20 Oct: 0',
    '21 Oct: 0',
    '22 Oct: 0',
    '23 Oct: 0',
    '24 Oct: 1',
    '25 Oct: 30',
    '26 Oct: 40',
  ]);
  expect(bars[5]).toMatchObject({ requests: 2, prompt: 30, completion: 30, cost: 4 });
});

test('a day is 24 hours up to now, a month thirty days', () => {
  const now = new Date('2026-11-22T12:30:00Z');
  const hours = barsOf([row('2026-11-21T13:00:00Z'), row('2026-11-22T12:15:00Z')], 'day', now);
  expect(hours).toHaveLength(24);
  expect([hours[0], hours[23]]).toMatchObject([
    { label: '14:00', requests: 1 },
    { label: '13:00', requests: 1 },
  ]);
  expect(barsOf([], 'month', now).map(({ label }) => label)).toHaveLength(30);
});
