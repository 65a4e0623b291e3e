import { describe, expect, test } from 'vitest';
import { parseMeminfo } from '../../src/machine/meminfo.js';
import { macEngineLimit, readMemory } from '../../src/machine/memory.js';
import { availableBytesOf, parseVmStat, pressureOf } from '../../src/machine/vm-stat.js';
import { ScriptedCommands } from './scripted-commands.js';

const GIB = 2 ** 30;

const VM_STAT = `Mach Virtual Memory Statistics: (page size of 4096 bytes)
Pages free:                                     1000.
Pages active:                                   3000.
Pages inactive:                                 2000.
Pages speculative:                               500.
Pages throttled:                                   0.
Pages wired down:                               1500.
Pages purgeable:                                 100.
"Translation faults":                     1896676113.
File-backed pages:                              4000.
Anonymous pages:                                3000.
Pages stored in compressor:                     9000.
Pages occupied by compressor:                    500.
Pages tagged:                                     77.
`;

describe('vm_stat', () => {
  test('is read by label, in pages of the size that its header gives', () => {
    expect(parseVmStat(VM_STAT)).toEqual({
      free: 1000 * 4096,
      active: 3000 * 4096,
      inactive: 2000 * 4096,
      speculative: 500 * 4096,
      wired: 1500 * 4096,
      purgeable: 100 * 4096,
      fileBacked: 4000 * 4096,
      compressor: 500 * 4096,
    });
  });

  test('counts compressed memory as in use', () => {
    const memory = parseVmStat(VM_STAT);
    expect(memory && pressureOf(memory)).toBeCloseTo(5000 / 8500);
  });

  test('counts file cache on the active list as available', () => {
    const memory = parseVmStat(VM_STAT);
    expect(memory && availableBytesOf(memory)).toBe((1000 + 2000 + 500 + 100 + 1500) * 4096);
  });

  test('does not count file cache twice', () => {
    const memory = parseVmStat(VM_STAT.replace('4000.', '2000.'));
    expect(memory && availableBytesOf(memory)).toBe((1000 + 2000 + 500 + 100) * 4096);
  });

  test.each([
    ['no header', VM_STAT.replace(/^Mach.*\n/, '')],
    ['no compressor line', VM_STAT.replace('Pages occupied by', 'Pages used by')],
    ['a figure that is not a number', VM_STAT.replace('3000.', 'many.')],
    ['no text', ''],
  ])('with %s is not known', (_what, text) => {
    expect(parseVmStat(text)).toBeUndefined();
  });
});

describe('/proc/meminfo', () => {
  test('gives total and available memory in bytes', () => {
    const text = 'MemTotal:       16384000 kB\nMemFree:          100000 kB\nMemAvailable:    8192000 kB\n';
    expect(parseMeminfo(text)).toEqual({ totalBytes: 16384000 * 1024, availableBytes: 8192000 * 1024 });
  });

  test.each(['', 'MemTotal: 1 kB\n', 'MemTotal: 1 MB\nMemAvailable: 1 MB\n'])('%j is not known', (text) => {
    expect(parseMeminfo(text)).toBeUndefined();
  });
});

describe('the limit of the engine on a Mac', () => {
  test.each([
    ['two thirds of a small Mac', 16 * GIB, undefined, Math.floor((16 * GIB * 2) / 3)],
    ['two thirds of 32 GiB', 32 * GIB, 0, Math.floor((32 * GIB * 2) / 3)],
    ['three quarters above that', 36 * GIB, 0, 27 * GIB],
    ['what the owner set', 128 * GIB, 114_688, 112 * GIB],
    ['never more than there is', 16 * GIB, 999_999, 16 * GIB],
  ])('is %s', (_what, total, wiredLimitMib, expected) => {
    expect(macEngineLimit(total, wiredLimitMib)).toBe(expected);
  });
});

describe('memory', () => {
  test('of a Mac comes from sysctl and vm_stat', async () => {
    const commands = new ScriptedCommands({
      '/usr/sbin/sysctl -i hw.memsize iogpu.wired_limit_mb': `hw.memsize: ${64 * GIB}\niogpu.wired_limit_mb: 57344\n`,
      '/usr/bin/vm_stat': VM_STAT,
    });
    expect(await readMemory(commands, 'darwin')).toEqual({
      totalBytes: 64 * GIB,
      availableBytes: 5100 * 4096,
      pressure: 5000 / 8500,
      engineLimitBytes: 56 * GIB,
    });
  });

  test('of a Mac whose tools fail falls back to what Node sees', async () => {
    const memory = await readMemory(new ScriptedCommands({}), 'darwin');
    expect(memory.totalBytes).toBeGreaterThan(0);
    expect(memory.availableBytes).toBeLessThanOrEqual(memory.totalBytes);
    expect(memory.pressure).toBeGreaterThanOrEqual(0);
    expect(memory.engineLimitBytes).toBeLessThan(memory.totalBytes);
  });

  test.each(['linux', 'freebsd'] as const)('on %s needs no tool', async (platform) => {
    const commands = new ScriptedCommands({});
    const memory = await readMemory(commands, platform);
    expect(commands.calls).toEqual([]);
    expect(memory.totalBytes).toBeGreaterThan(0);
    expect(memory.pressure).toBeGreaterThanOrEqual(0);
    expect(memory.pressure).toBeLessThanOrEqual(1);
    expect(memory.engineLimitBytes).toBe(Math.floor((memory.totalBytes * 3) / 4));
  });
});
