import { describe, expect, test } from 'vitest';
import { coresByLevel, parseSysctl, readSysctl, wholeNumber } from '../../src/machine/sysctl.js';
import { ScriptedCommands } from './scripted-commands.js';

describe('sysctl output', () => {
  test('is read by name, in any order', () => {
    const values = parseSysctl('hw.ncpu: 10\nmachdep.cpu.brand_string: Apple M4 Pro\nhw.model: Mac16,8\n');
    expect(values.get('hw.model')).toBe('Mac16,8');
    expect(values.get('machdep.cpu.brand_string')).toBe('Apple M4 Pro');
    expect(wholeNumber(values, 'hw.ncpu')).toBe(10);
  });

  test('keeps a value that has colons itself', () => {
    expect(parseSysctl('kern.boottime: { sec = 1 } Sat 10:00:00\n').get('kern.boottime')).toBe(
      '{ sec = 1 } Sat 10:00:00',
    );
  });

  test.each([
    ['values without names', '68719476736\n24\nApple M2 Ultra\n'],
    ['an error', "sysctl: unknown oid 'iogpu.wired_limit_mb'\n"],
    ['nothing', ''],
  ])('with %s has no known key', (_what, text) => {
    const values = parseSysctl(text);
    expect(wholeNumber(values, 'hw.memsize')).toBeUndefined();
    expect(values.has('iogpu.wired_limit_mb')).toBe(false);
  });

  test.each(['', '-1', '1.5', 'ten', '0x10', '12 MB'])('value "%s" is not a whole number', (text) => {
    expect(wholeNumber(new Map([['key', text]]), 'key')).toBeUndefined();
  });

  test('is asked with unknown keys left out', async () => {
    const commands = new ScriptedCommands({ '/usr/sbin/sysctl': 'hw.ncpu: 8\n' });
    expect([...(await readSysctl(commands, ['hw.ncpu', 'no.such.key']))]).toEqual([['hw.ncpu', '8']]);
    expect(commands.calls).toEqual(['/usr/sbin/sysctl -i hw.ncpu no.such.key']);
  });
});

describe('cores by level', () => {
  test.each([
    ['level 0 is the fast kind', '0.physicalcpu: 8\n1.physicalcpu: 4', { performance: 8, efficiency: 4 }],
    ['also when it is printed last', '1.physicalcpu: 2\n0.physicalcpu: 6', { performance: 6, efficiency: 2 }],
    [
      'also when level 1 is named Performance',
      '0.name: Super\n0.physicalcpu: 6\n1.name: Performance\n1.physicalcpu: 12',
      { performance: 6, efficiency: 12 },
    ],
    [
      'all lower levels are added up',
      '0.physicalcpu: 2\n1.physicalcpu: 4\n2.physicalcpu: 6',
      { performance: 2, efficiency: 10 },
    ],
    ['one level has no slower kind', '0.name: Standard\n0.physicalcpu: 3', { performance: 3, efficiency: 0 }],
    ['no level means not known', '', undefined],
  ])('%s', (_what, text, expected) => {
    const lines = text === '' ? [] : text.split('\n').map((line) => `hw.perflevel${line}`);
    expect(coresByLevel(parseSysctl(lines.join('\n')))).toEqual(expected);
  });
});
