import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MIGRATIONS } from '../../src/coordinator/migrations.js';
import { Database } from '../../src/database.js';
import type { Clock } from '../../src/util/clock.js';

export const START_MS = Date.parse('2026-06-21T15:04:05Z');

/** Time that passes when a test says so. */
export class HandClock implements Clock {
  #now = START_MS;

  now(): number {
    return this.#now;
  }

  pass(ms: number): void {
    this.#now += ms;
  }

  after(): Disposable {
    throw new Error('nothing here waits');
  }
}

/** A coordinator's database in a file of its own, gone with the test. */
export function temporaryDatabase(): Disposable & { database: Database; path: string; clock: HandClock } {
  const folder = mkdtempSync(join(tmpdir(), 'coordinator-'));
  const path = join(folder, 'coordinator.db');
  const database = new Database(path, MIGRATIONS);
  return {
    database,
    path,
    clock: new HandClock(),
    [Symbol.dispose]() {
      database.close();
      rmSync(folder, { recursive: true });
    },
  };
}
