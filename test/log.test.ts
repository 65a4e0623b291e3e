import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createServiceLog, LOG_FILE, LOG_FILES, logFolderOf, MAX_LOG_FILE_BYTES, silentLog } from '../src/log.js';
import { RotatingFile, rotatedPath } from '../src/util/rotating-file.js';
import { PACKAGE_ROOT } from '../src/util/version.js';

const PRIVATE = 0o600;

let folder: string;
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'darkbloom-log-'))));
afterEach(() => rmSync(folder, { recursive: true }));

const path = (age = 0) => rotatedPath(join(folder, 'logs', LOG_FILE), age);
const text = (age = 0) => readFileSync(path(age), 'utf8');
const names = () => readdirSync(join(folder, 'logs')).sort();

function rotating(maxFileBytes = 100, files = 3): RotatingFile {
  return new RotatingFile(path(), { maxFileBytes, files }, (lost) => `lost ${lost}\n`);
}

describe('the log of the service', () => {
  test('is JSON with time and level, in a private file of a private folder', () => {
    const log = createServiceLog('info', join(folder, 'logs'));
    log.debug('not kept');
    log.warn({ attempt: 3 }, 'link lost');
    expect(JSON.parse(text())).toEqual({
      level: 40,
      time: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/u) as string,
      attempt: 3,
      msg: 'link lost',
    });
    expect(statSync(path()).mode & 0o777).toBe(PRIVATE);
    expect(statSync(join(folder, 'logs')).mode & 0o777).toBe(0o700);
  });

  test('never grows beyond its bounds', () => {
    const log = createServiceLog('info', join(folder, 'logs'));
    const fact = 'x'.repeat(100_000);
    const writes = Math.ceil((MAX_LOG_FILE_BYTES * (LOG_FILES + 1)) / fact.length);
    for (let index = 0; index < writes; index++) log.info({ index, fact }, 'much');
    expect(names()).toHaveLength(LOG_FILES);
    for (let age = 0; age < LOG_FILES; age++) {
      expect(statSync(path(age)).size).toBeLessThanOrEqual(MAX_LOG_FILE_BYTES);
      expect(statSync(path(age)).mode & 0o777).toBe(PRIVATE);
    }
    expect(text().trimEnd().split('\n').at(-1)).toContain(`"index":${writes - 1},`);
  });

  test('lies where the Console app looks on a Mac, and in the home elsewhere', () => {
    expect(logFolderOf('darwin', '/Users/ada', '/h')).toBe('/Users/ada/Library/Logs/darkbloom-provider');
    expect(logFolderOf('linux', '/home/ada', '/h')).toBe('/h/logs');
  });

  test('for nobody prints nothing', () => {
    expect(silentLog().isLevelEnabled('fatal')).toBe(false);
  });
});

describe('a rotating file', () => {
  test('keeps the newest lines, whole, the newest file first', () => {
    const file = rotating(20, 3);
    for (let index = 1; index <= 9; index++) file.write(`line number ${index}\n`);
    expect(names()).toEqual(['service.1.log', 'service.2.log', 'service.log']);
    expect([text(2), text(1), text()]).toEqual(['line number 7\n', 'line number 8\n', 'line number 9\n']);
    file.close();
  });

  test('goes on in the file of an earlier process, and ends a line that was torn there', () => {
    mkdirSync(join(folder, 'logs'));
    writeFileSync(path(), '{"torn', { mode: 0o644 });
    const file = rotating();
    file.write('next\n');
    expect(text()).toBe('{"torn\nnext\n');
    expect(statSync(path()).mode & 0o777).toBe(PRIVATE);
    file.close();
  });

  test('follows when its file is deleted or rotated by another process', () => {
    const [one, other] = [rotating(20, 3), rotating(20, 3)];
    one.write('line number 1\n');
    other.write('line number 2\n');
    one.write('line number 3\n');
    expect([text(2), text(1), text()]).toEqual(['line number 1\n', 'line number 2\n', 'line number 3\n']);
    rmSync(path());
    other.write('line number 4\n');
    expect(text()).toBe('line number 4\n');
    one.close();
    other.close();
  });

  test('loses a line that no file can hold, and tells', () => {
    const file = rotating(40);
    file.write(`${'x'.repeat(40)}\n`);
    file.write('short\n');
    expect(text()).toBe('lost 1\nshort\n');
    file.close();
  });

  test('loses lines while it cannot write, and tells how many when it can again', () => {
    writeFileSync(join(folder, 'logs'), 'a file where the folder should be');
    const file = rotating();
    for (let index = 0; index < 3; index++) file.write('gone\n');
    rmSync(join(folder, 'logs'));
    file.write('here\n');
    expect(text()).toBe('lost 3\nhere\n');
    file.close();
  });

  test('survives a disk that is full in the middle of a line', async () => {
    // The limit of a file stands in for the end of the disk: the system writes a part of the line, then refuses.
    const program = `
      import { rmSync } from 'node:fs';
      import { RotatingFile } from ${JSON.stringify(join(PACKAGE_ROOT, 'dist/util/rotating-file.js'))};
      const path = ${JSON.stringify(path())};
      const file = new RotatingFile(path, { maxFileBytes: 1_000_000, files: 2 }, (lost) => 'lost ' + lost + '\\n');
      for (let line = 0; line < 100; line++) file.write('x'.repeat(99) + '\\n');
      rmSync(path);
      file.write('room again\\n');
      process.stdout.write('alive');
    `;
    const shell = `trap '' XFSZ; ulimit -f 2; exec "$0" --input-type=module -e "$1"`;
    const { stdout } = await promisify(execFile)('/bin/sh', ['-c', shell, process.execPath, program]);
    expect(stdout).toBe('alive');
    expect(text()).toMatch(/^lost (?:8|9)\d\nroom again\n$/u);
  });
});
