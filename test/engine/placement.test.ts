import fc from 'fast-check';
import { expect, test } from 'vitest';
import { placementFor, type Placement, type Resident, type Room } from '../../src/engine/placement.js';

const idle = (id: string, bytes: number, lastUsed: number): Resident => ({
  id,
  bytes,
  busy: false,
  pinned: false,
  lastUsed,
});
const busy = (id: string, bytes: number, lastUsed = 0): Resident => ({ ...idle(id, bytes, lastUsed), busy: true });
const kept = (id: string, bytes: number): Resident => ({ ...idle(id, bytes, 0), pinned: true });

const ten: Room = { limitBytes: 10, maxModels: 9 };
const fits = (...evict: string[]): Placement => ({ kind: 'fits', evict });
const wait = (...waitFor: string[]): Placement => ({ kind: 'wait', waitFor });
const never: Placement = { kind: 'never' };

test.each<[string, number, Room, Resident[], Placement]>([
  ['nothing goes when there is room', 5, ten, [idle('a', 5, 1)], fits()],
  ['the one that rested longest goes first', 5, ten, [idle('new', 4, 2), idle('old', 4, 1)], fits('old')],
  ['as many go as it takes', 8, ten, [idle('b', 3, 2), idle('c', 2, 3), idle('a', 4, 1)], fits('a', 'b')],
  ['a busy one stays while an idle one is enough', 5, ten, [busy('busy', 4), idle('idle', 4, 5)], fits('idle')],
  ['a busy one is waited for when nothing else helps', 7, ten, [busy('busy', 6), idle('idle', 4, 5)], wait('busy')],
  ['the busy one that was used longest ago is waited for', 5, ten, [busy('a', 5, 2), busy('b', 5, 1)], wait('b')],
  ['a kept one is not waited for', 7, ten, [kept('kept', 4)], never],
  ['beside a kept one another goes', 6, ten, [kept('kept', 4), idle('idle', 5, 1)], fits('idle')],
  ['what is larger than everything never fits', 11, ten, [], never],
  ['an overdrawn machine gives back until it fits', 2, ten, [idle('a', 8, 1), idle('b', 8, 2)], fits('a')],
  ['a seat is needed too', 1, { limitBytes: 10, maxModels: 2 }, [idle('a', 1, 1), idle('b', 1, 2)], fits('a')],
  ['a seat of a busy model is waited for', 1, { limitBytes: 10, maxModels: 1 }, [busy('a', 1)], wait('a')],
  ['a seat of a kept model is none', 1, { limitBytes: 10, maxModels: 1 }, [kept('a', 1)], never],
])('%s', (_, needed, room, residents, expected) => {
  expect(placementFor(needed, room, residents)).toEqual(expected);
});

test('who leaves makes enough room, was needed, and may leave; and never is said only when all together are not enough', () => {
  const resident = fc.record({ bytes: fc.nat(100), busy: fc.boolean(), pinned: fc.boolean(), lastUsed: fc.nat(100) });
  const room = fc.record({ limitBytes: fc.nat(300), maxModels: fc.integer({ min: 1, max: 6 }) });
  fc.assert(
    fc.property(fc.nat(300), room, fc.array(resident, { maxLength: 6 }), (needed, space, list) => {
      const residents = list.map((each, index) => ({ ...each, id: String(index) }));
      const enoughWithout = (gone: readonly Resident[]) => {
        const staying = residents.filter((each) => !gone.includes(each));
        const used = staying.reduce((sum, { bytes }) => sum + bytes, 0);
        return used + needed <= space.limitBytes && staying.length < space.maxModels;
      };
      const placement = placementFor(needed, space, residents);
      const movable = residents.filter(({ pinned }) => !pinned);
      const idleOnes = movable.filter((each) => !each.busy);
      expect(placement.kind === 'never').toBe(!enoughWithout(movable));
      expect(placement.kind === 'fits').toBe(enoughWithout(idleOnes));
      if (placement.kind !== 'fits') return;
      const gone = placement.evict.map((id) => residents[Number(id)] ?? expect.fail('nobody has this id'));
      expect(gone.every((each) => idleOnes.includes(each))).toBe(true);
      expect(enoughWithout(gone)).toBe(true);
      if (gone.length > 0) expect(enoughWithout(gone.slice(0, -1))).toBe(false);
    }),
  );
});
