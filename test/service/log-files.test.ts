import { mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createServiceLog, LOG_FILE, LOG_FILES } from '../../src/log.js';
import {
  logLines,
  MAX_LAUNCHD_LOG_BYTES,
  trimLaunchdLog,
  type LogFilter,
  type LogLine,
} from '../../src/service/log-files.js';
import { RotatingFile } from '../../src/util/rotating-file.js';
import { ManualClock } from '../support/manual-clock.js';

const START = Date.parse('2026-06-21T12:00:00Z');

let folder: string;
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'darkbloom-logs-'))));
afterEach(() => rmSync(folder, { recursive: true }));

/** Lines of about 60 bytes: two in a file. */
function writer(): (number: number, level?: number) => void {
  const bounds = { maxFileBytes: 150, files: LOG_FILES };
  const file = new RotatingFile(join(folder, LOG_FILE), bounds, () => '\n');
  return (number, level = 30) => {
    const time = new Date(START + number * 1_000).toISOString();
    file.write(`${JSON.stringify({ level, time, number, msg: 'line' })}\n`);
  };
}

const numberOf = (line: LogLine) => Number(line['number']);

async function read(filter: LogFilter = {}): Promise<number[]> {
  const numbers: number[] = [];
  for await (const line of logLines(folder, filter)) numbers.push(numberOf(line));
  return numbers;
}

describe('the log is read', () => {
  test('over all its files, the oldest line first', async () => {
    const write = writer();
    for (let number = 1; number <= 7; number++) write(number);
    expect(await read()).toEqual([1, 2, 3, 4, 5, 6, 7]);
  });

  test('as far as it is kept', async () => {
    const write = writer();
    for (let number = 1; number <= 100; number++) write(number);
    expect(await read()).toEqual([91, 92, 93, 94, 95, 96, 97, 98, 99, 100]);
  });

  test('since a time and from a level on', async () => {
    const write = writer();
    for (const [index, level] of [20, 30, 40, 50, 60].entries()) write(index, level);
    expect(await read({ since: START + 2_000 })).toEqual([2, 3, 4]);
    expect(await read({ minimumLevel: 'warn' })).toEqual([2, 3, 4]);
    expect(await read({ minimumLevel: 'error', since: START + 4_000 })).toEqual([4]);
  });

  test('without what is no line of a log', async () => {
    writeFileSync(join(folder, LOG_FILE), 'null\n{"level":30}\n{"torn\n\n');
    const log = createServiceLog('info', folder);
    log.info({ number: 1 }, 'line');
    expect(await read()).toEqual([1]);
  });

  test('where there is none, to the end at once', async () => {
    expect(await read()).toEqual([]);
  });
});

describe('the log is followed', () => {
  /** A reader of what is there now, turned on by hand. */
  class Follower {
    readonly clock = new ManualClock();
    readonly numbers: number[] = [];
    readonly #stop = new AbortController();
    readonly #done: Promise<void>;

    constructor() {
      this.#done = this.#follow();
    }

    async #follow(): Promise<void> {
      const following = { clock: this.clock, signal: this.#stop.signal };
      for await (const line of logLines(folder, {}, following)) this.numbers.push(numberOf(line));
    }

    /** Until it waits for the next look. */
    async look(): Promise<void> {
      this.clock.turn(250);
      do await new Promise(setImmediate);
      while (this.clock.pending === 0);
    }

    async stop(): Promise<void> {
      this.#stop.abort();
      await this.#done;
      expect(this.clock.pending).toBe(0);
    }
  }

  test('over one rotation and over several at once, without a gap and without a line twice', async () => {
    const write = writer();
    const follower = new Follower();
    await follower.look();
    let number = 0;
    for (const count of [1, 1, 1, 3, 5, 0, 8, 1]) {
      for (let index = 0; index < count; index++) write(++number);
      await follower.look();
    }
    expect(follower.numbers).toEqual(Array.from({ length: number }, (_, index) => index + 1));
    await follower.stop();
  });

  test('past a gap when more was written than is kept', async () => {
    const write = writer();
    write(1);
    const follower = new Follower();
    await follower.look();
    for (let number = 2; number <= 100; number++) write(number);
    await follower.look();
    expect(follower.numbers.slice(0, 3)).toEqual([1, 2, 91]);
    expect(follower.numbers.at(-1)).toBe(100);
    await follower.stop();
  });

  test('by whole lines, and from the beginning when the file was emptied', async () => {
    const path = join(folder, LOG_FILE);
    const line = (number: number) =>
      `{"level":30,"time":"2026-06-21T12:00:00.000Z","number":${number},"msg":"größe"}\n`;
    writeFileSync(path, line(1) + line(2).slice(0, 70));
    const follower = new Follower();
    await follower.look();
    expect(follower.numbers).toEqual([1]);
    writeFileSync(path, line(2).slice(70), { flag: 'a' });
    await follower.look();
    expect(follower.numbers).toEqual([1, 2]);
    truncateSync(path);
    writeFileSync(path, line(3));
    await follower.look();
    expect(follower.numbers).toEqual([1, 2, 3]);
    await follower.stop();
  });
});

describe("launchd's own file", () => {
  const path = () => join(folder, 'launchd.log');

  test('keeps its last lines when it has grown too long', () => {
    const line = `${'x'.repeat(99)}\n`;
    writeFileSync(path(), `${line.repeat(MAX_LAUNCHD_LOG_BYTES / line.length)}${line}the last crash\n`);
    trimLaunchdLog(folder);
    const kept = readFileSync(path(), 'utf8');
    expect(kept.length).toBeLessThan(65_537);
    expect(kept.startsWith(line)).toBe(true);
    expect(kept.endsWith('\nthe last crash\n')).toBe(true);
  });

  test('is left alone below its bound, and may be missing', () => {
    trimLaunchdLog(folder);
    writeFileSync(path(), 'short\n');
    trimLaunchdLog(folder);
    expect(statSync(path()).size).toBe(6);
  });
});
