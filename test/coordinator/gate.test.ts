import { expect, test } from 'vitest';
import { Gate } from '../../src/coordinator/gate.js';

test('lets in as many as have a place, and the next one when one has left', () => {
  const gate = new Gate();
  const leave = gate.enter(2);
  gate.enter(2);
  expect(() => gate.enter(2)).toThrow('has 2 requests in hand');
  leave();
  leave(); // a second time it counts for nothing
  gate.enter(2);
  expect(() => gate.enter(2)).toThrow(expect.objectContaining({ code: 'over_capacity', retryAfterS: 30 }) as Error);
});

test('lets nobody in once it is closed, and is idle when the last has left', async () => {
  const gate = new Gate();
  const leave = gate.enter(9);
  gate.close();
  expect(() => gate.enter(9)).toThrow(expect.objectContaining({ code: 'over_capacity', retryAfterS: 3 }) as Error);
  const idle = gate.idle();
  leave();
  await idle;
  expect(gate.inside).toBe(0);
});
