import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Database } from '../src/database.js';

let folder: string;
let database: Database;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'database-'));
  database = new Database(join(folder, 'test.db'), [{ name: 'names', sql: 'CREATE TABLE names (name TEXT UNIQUE)' }]);
});
afterEach(() => {
  database.close();
  rmSync(folder, { recursive: true });
});

const add = (name: string) => void database.run('INSERT INTO names VALUES (?)', name);
const names = () => database.all('SELECT name FROM names ORDER BY rowid').map(({ name }) => name);

describe('works that share a commit', () => {
  test('are told of when it is on the disk, and one that fails is undone alone', async () => {
    const works = [
      database.together(() => add('one')),
      database.together(() => {
        add('two');
        throw new Error('changed its mind');
      }),
      database.together(() => add('one')), // not again
      database.together(() => (add('three'), 3)),
    ];
    const ended = await Promise.allSettled(works);
    expect(ended.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'rejected', 'fulfilled']);
    expect(ended[3]).toMatchObject({ value: 3 });
    expect(names()).toEqual(['one', 'three']);
  });

  test('all fail when SQLite undoes the whole commit in the middle, and none of them is half there', async () => {
    const works = [
      database.together(() => add('before')),
      database.together(() => {
        database.run('ROLLBACK'); // as on a full disk
        throw new Error('the disk is full');
      }),
      database.together(() => add('after')),
    ];
    for (const work of works) await expect(work).rejects.toThrow('the disk is full');
    expect(names()).toEqual([]);
    await database.together(() => add('later'));
    expect(names()).toEqual(['later']);
  });

  test('are committed before the database is closed', async () => {
    const work = database.together(() => add('last'));
    database.close();
    await work;
    database = new Database(join(folder, 'test.db'), [{ name: 'names', sql: '' }]);
    expect(names()).toEqual(['last']);
  });
});

test('a part of a transaction that fails is undone alone', () => {
  database.transaction(() => {
    add('outer');
    expect(() =>
      database.transaction(() => {
        add('inner');
        throw new Error('no');
      }),
    ).toThrow('no');
  });
  expect(names()).toEqual(['outer']);
});
