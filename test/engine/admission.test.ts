import { describe, expect, test } from 'vitest';
import { Admission } from '../../src/engine/admission.js';
import { DarkbloomError } from '../../src/errors.js';

const never = new AbortController().signal;

/** A crowd before one model: who got in, in which order, and the way out of each. */
class Crowd {
  readonly inside: string[] = [];
  readonly #leave = new Map<string, () => void>();
  readonly admission: Admission;

  constructor(rows: number) {
    this.admission = new Admission(rows);
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

test('a full line refuses the next one and says when to come again', async () => {
  const crowd = new Crowd(2);
  await Promise.all([crowd.comes('a'), crowd.comes('b')]);
  const waiting: Promise<void>[] = [];
  const patience = Array.from({ length: 64 }, () => new AbortController());
  for (const { signal } of patience) {
    crowd.admission.check('tiny');
    waiting.push(crowd.comes('waiting', false, signal));
  }
  const check = () => crowd.admission.check('tiny');
  expect(check).toThrow(DarkbloomError);
  expect(check).toThrow(
    expect.objectContaining({
      code: 'over_capacity',
      retryAfterS: 2,
      message: 'queue full: all 2 slots of tiny are busy and 64 requests wait.',
    }) as Error,
  );
  for (const each of patience) each.abort();
  await Promise.all(waiting);
  expect(check).not.toThrow();
});
