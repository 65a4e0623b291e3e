import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Admission, WAITING_PER_ROW, type Hold } from '../../src/engine/admission.js';
import { DarkbloomError } from '../../src/errors.js';

const never = new AbortController().signal;

/** A crowd before one model: who got in, in which order, and the way out of each. */
class Crowd {
  readonly inside: string[] = [];
  readonly #leave = new Map<string, () => void>();
  readonly admission: Admission;

  constructor(rows: number) {
    this.admission = new Admission({ rows, model: 'tiny', retryAfterS: () => 7 });
  }

  /** Resolves when the one is inside, or gave up. */
  async comes(name: string, owner = false, signal = never): Promise<void> {
    const leave = await this.admission.enter(owner, signal);
    if (leave === undefined) return;
    this.inside.push(name);
    this.#leave.set(name, leave);
  }

  leaves(name: string): void {
    this.#leave.get(name)?.();
  }

  get counts(): [running: number, waiting: number] {
    return [this.admission.running, this.admission.waiting];
  }
}

describe('who may use the rows of a model', () => {
  test('comes in at once while a row is free', async () => {
    const crowd = new Crowd(2);
    await Promise.all([crowd.comes('a'), crowd.comes('b')]);
    expect(crowd.counts).toEqual([2, 0]);
  });

  test('waits for a row otherwise, first come first served', async () => {
    const crowd = new Crowd(1);
    await crowd.comes('a');
    const waiting = [crowd.comes('b'), crowd.comes('c')];
    expect(crowd.counts).toEqual([1, 2]);
    crowd.leaves('a');
    await waiting[0];
    expect(crowd.inside).toEqual(['a', 'b']);
    expect(crowd.counts).toEqual([1, 1]);
    crowd.leaves('b');
    await waiting[1];
    expect(crowd.inside).toEqual(['a', 'b', 'c']);
  });

  test('is the owner before all others, and owners among themselves in order', async () => {
    const crowd = new Crowd(1);
    await crowd.comes('first');
    const waiting = new Map([
      ['stranger 1', crowd.comes('stranger 1')],
      ['owner 1', crowd.comes('owner 1', true)],
      ['stranger 2', crowd.comes('stranger 2')],
      ['owner 2', crowd.comes('owner 2', true)],
    ]);
    let inside = 'first';
    for (const next of ['owner 1', 'owner 2', 'stranger 1', 'stranger 2']) {
      crowd.leaves(inside);
      await waiting.get(next);
      inside = next;
    }
    expect(crowd.inside).toEqual(['first', 'owner 1', 'owner 2', 'stranger 1', 'stranger 2']);
  });

  test('gives a row back once, however often it is said', async () => {
    const crowd = new Crowd(1);
    await crowd.comes('a');
    crowd.leaves('a');
    crowd.leaves('a');
    expect(crowd.counts).toEqual([0, 0]);
    await crowd.comes('b');
    crowd.leaves('a');
    expect(crowd.counts).toEqual([1, 0]);
  });
});

describe('who gives up', () => {
  test('before coming takes no row', async () => {
    const crowd = new Crowd(1);
    await crowd.comes('gone', false, AbortSignal.abort());
    expect(crowd.counts).toEqual([0, 0]);
    expect(crowd.inside).toEqual([]);
  });

  test('while waiting leaves the line, and the next one gets the row', async () => {
    const crowd = new Crowd(1);
    const abort = new AbortController();
    await crowd.comes('a');
    const impatient = crowd.comes('b', true, abort.signal);
    const patient = crowd.comes('c');
    abort.abort();
    await impatient;
    expect(crowd.counts).toEqual([1, 1]);
    crowd.leaves('a');
    await patient;
    expect(crowd.inside).toEqual(['a', 'c']);
  });

  test('once inside keeps the row until it is given back', async () => {
    const crowd = new Crowd(1);
    const abort = new AbortController();
    await crowd.comes('a');
    const b = crowd.comes('b', false, abort.signal);
    crowd.leaves('a');
    await b;
    const c = crowd.comes('c');
    abort.abort();
    expect(crowd.counts).toEqual([1, 1]);
    crowd.leaves('b');
    await c;
    expect(crowd.inside).toEqual(['a', 'b', 'c']);
  });
});

/** A line of one row that is full, and what became of each who waits. */
function fullLine(owners = 0) {
  const crowd = new Crowd(1);
  const first = crowd.comes('first');
  const patience = Array.from({ length: WAITING_PER_ROW }, () => new AbortController());
  const waiting = patience.map(({ signal }, index) => crowd.comes(String(index), index < owners, signal));
  return { crowd, first, waiting, patience };
}

describe('a full line', () => {
  test('refuses the next one and says when to come again, until somebody leaves it', async () => {
    const { crowd, waiting, patience } = fullLine();
    const check = () => crowd.admission.check(false);
    expect(check).toThrow(DarkbloomError);
    expect(check).toThrow(
      expect.objectContaining({
        code: 'over_capacity',
        retryAfterS: 7,
        message: 'queue full: all 1 slots of tiny are busy and 16 requests wait, the most that may.',
      }) as Error,
    );
    for (const each of patience) each.abort();
    await Promise.all(waiting);
    expect(check).not.toThrow();
  });

  test("lets the owner's request in: the stranger who came last is refused in its place", async () => {
    const { crowd, waiting } = fullLine();
    expect(() => crowd.admission.check(true)).not.toThrow();
    const owner = crowd.comes('owner', true);
    await expect(waiting.at(-1)).rejects.toMatchObject({ code: 'over_capacity', retryAfterS: 7 });
    expect(crowd.counts).toEqual([1, WAITING_PER_ROW]);
    crowd.leaves('first');
    await owner;
    expect(crowd.inside).toEqual(['first', 'owner']);
  });

  test("of the owner's requests alone refuses the owner too", () => {
    const { crowd } = fullLine(WAITING_PER_ROW);
    expect(() => crowd.admission.check(true)).toThrow(DarkbloomError);
  });
});

describe('while another model waits for the memory', () => {
  test('nobody gets a free row, and all do when that is over', async () => {
    const crowd = new Crowd(2);
    crowd.admission.hold('all');
    const [owner, stranger] = [crowd.comes('owner', true), crowd.comes('stranger')];
    expect(crowd.counts).toEqual([0, 2]);
    crowd.admission.hold('none');
    await Promise.all([owner, stranger]);
    expect(crowd.inside).toEqual(['owner', 'stranger']);
  });

  test('a stranger keeps only strangers out', async () => {
    const crowd = new Crowd(2);
    crowd.admission.hold('strangers');
    const stranger = crowd.comes('stranger');
    await crowd.comes('owner', true);
    expect(crowd.counts).toEqual([1, 1]);
    crowd.admission.hold('none');
    await stranger;
    expect(crowd.inside).toEqual(['owner', 'stranger']);
  });
});

type Step =
  { type: 'comes'; owner: boolean } | { type: 'gives up' | 'leaves'; which: number } | { type: 'hold'; hold: Hold };

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 7, arbitrary: fc.record({ type: fc.constant('comes' as const), owner: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('gives up' as const), which: fc.nat() }) },
  { weight: 2, arbitrary: fc.record({ type: fc.constant('leaves' as const), which: fc.nat() }) },
  {
    weight: 1,
    arbitrary: fc.record({
      type: fc.constant('hold' as const),
      hold: fc.constantFrom<Hold>('none', 'strangers', 'all'),
    }),
  },
);

interface Someone {
  owner: boolean;
  abort: AbortController;
  fate: 'waits' | 'inside' | 'left' | 'gave up' | 'refused';
  leave?: () => void;
}

/** Takes a step, and lets everybody hear of it. */
async function take(step: Step, admission: Admission, people: Someone[]): Promise<void> {
  const oneOf = (fate: Someone['fate'], which: number) => {
    const those = people.filter((each) => each.fate === fate);
    return those[which % those.length];
  };
  switch (step.type) {
    case 'comes': {
      const someone: Someone = { owner: step.owner, abort: new AbortController(), fate: 'waits' };
      people.push(someone);
      try {
        admission.check(step.owner);
      } catch {
        someone.fate = 'refused';
        break;
      }
      void admission.enter(step.owner, someone.abort.signal).then(
        (leave) => {
          someone.fate = leave === undefined ? 'gave up' : 'inside';
          if (leave !== undefined) someone.leave = leave;
        },
        () => (someone.fate = 'refused'),
      );
      break;
    }
    case 'gives up':
      oneOf('waits', step.which)?.abort.abort();
      break;
    case 'leaves': {
      const someone = oneOf('inside', step.which);
      if (someone === undefined) break;
      someone.fate = 'left';
      someone.leave?.();
      break;
    }
    case 'hold':
      admission.hold(step.hold);
      break;
    default:
      step satisfies never;
  }
  await new Promise(setImmediate);
}

test('whoever comes, goes and gives up: never more than may, the owner first, nobody lost', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 2 }),
      fc.array(step, { maxLength: 160, size: 'max' }),
      async (rows, steps) => {
        const admission = new Admission({ rows, model: 'tiny', retryAfterS: () => 1 });
        const people: Someone[] = [];
        let hold: Hold = 'none';
        for (const next of steps) {
          const before = people.filter(({ fate }) => fate === 'waits');
          if (next.type === 'hold') ({ hold } = next);
          await take(next, admission, people);
          const counted = (fate: Someone['fate']) => people.filter((each) => each.fate === fate).length;
          expect([admission.running, admission.waiting]).toEqual([counted('inside'), counted('waits')]);
          expect(admission.running).toBeLessThanOrEqual(rows);
          expect(admission.waiting).toBeLessThanOrEqual(admission.bound);
          const entered = before.filter(({ fate }) => fate === 'inside');
          const still = before.filter(({ fate }) => fate === 'waits');
          for (const lucky of entered) {
            if (!lucky.owner) expect(still.filter(({ owner }) => owner)).toEqual([]);
            const earlier = (other: Someone) =>
              other.owner === lucky.owner && people.indexOf(other) < people.indexOf(lucky);
            expect(still.filter(earlier)).toEqual([]);
          }
          const mayEnter = people.filter(
            ({ fate, owner }) => fate === 'waits' && (hold === 'none' || (hold === 'strangers' && owner)),
          );
          if (admission.running < rows) expect(mayEnter).toEqual([]);
        }
        admission.hold('none');
        while (people.some(({ fate }) => fate === 'waits' || fate === 'inside')) {
          await take({ type: 'leaves', which: 0 }, admission, people);
        }
        expect([admission.running, admission.waiting]).toEqual([0, 0]);
      },
    ),
    { numRuns: 40 },
  );
});
