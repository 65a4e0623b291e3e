import fc from 'fast-check';
import { expect, test } from 'vitest';
import { evictionsFor, type Resident } from '../../src/engine/placement.js';

const idle = (id: string, bytes: number, lastUsed: number): Resident => ({ id, bytes, busy: false, lastUsed });
const busy = (id: string, bytes: number): Resident => ({ id, bytes, busy: true, lastUsed: 0 });

test.each<[string, number, number, Resident[], string[] | undefined]>([
  ['nothing goes when there is room', 5, 5, [idle('a', 9, 1)], []],
  ['nothing goes when nothing is there', 5, 6, [], []],
  ['the one that rested longest goes first', 5, 1, [idle('new', 9, 2), idle('old', 9, 1)], ['old']],
  ['as many go as it takes', 12, 1, [idle('b', 5, 2), idle('c', 5, 3), idle('a', 6, 1)], ['a', 'b']],
  ['a busy one stays', 5, 1, [busy('busy', 9), idle('idle', 4, 5)], ['idle']],
  ['nobody goes in vain', 50, 1, [busy('busy', 90), idle('idle', 4, 5)], undefined],
  ['what never fits is not tried', 5, 1, [], undefined],
  ['an empty machine may be overdrawn', 5, -3, [idle('a', 8, 1)], ['a']],
])('%s', (_, needed, free, residents, expected) => {
  expect(evictionsFor(needed, free, residents)).toEqual(expected);
});

test('what is chosen is idle, makes enough room, and its last one was needed', () => {
  const resident = fc.record({ bytes: fc.nat(100), busy: fc.boolean(), lastUsed: fc.nat(100) });
  fc.assert(
    fc.property(fc.nat(300), fc.nat(100), fc.array(resident), (needed, free, list) => {
      const residents = list.map((each, index) => ({ ...each, id: String(index) }));
      const byId = new Map(residents.map((each) => [each.id, each]));
      const room = (ids: readonly string[]) => free + ids.reduce((sum, id) => sum + (byId.get(id)?.bytes ?? 0), 0);
      const evicted = evictionsFor(needed, free, residents);
      const idleIds = residents.filter((each) => !each.busy).map(({ id }) => id);
      if (evicted === undefined) {
        expect(room(idleIds)).toBeLessThan(needed);
      } else {
        expect(idleIds).toEqual(expect.arrayContaining(evicted));
        expect(room(evicted)).toBeGreaterThanOrEqual(needed);
        if (evicted.length > 0) expect(room(evicted.slice(0, -1))).toBeLessThan(needed);
      }
    }),
  );
});
