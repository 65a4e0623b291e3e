import { describe, expect, test } from 'vitest';
import { kernelTimeOf, powerOf, readPower, readWakeTime } from '../../src/machine/power.js';
import { ScriptedCommands } from './scripted-commands.js';

const BATTERY = ' -InternalBattery-0 (id=1)\t80%; AC attached; not charging present: true';

describe('the power source', () => {
  test.each([
    ['a desktop', "Now drawing from 'AC Power'\n", { source: 'ac' }],
    ['a battery held at 80 %', `Now drawing from 'AC Power'\n${BATTERY}\n`, { source: 'ac', batteryPercent: 80 }],
    [
      'a UPS on its battery',
      "Now drawing from 'UPS Power'\n -Smart-UPS 750 (id=2)\t97%; discharging; 0:41 remaining present: true\n",
      { source: 'ups', batteryPercent: 97 },
    ],
    [
      'a notebook behind a UPS',
      `Now drawing from 'UPS Power'\n -Smart-UPS 750 (id=2)\t97%; discharging; 0:41 remaining present: true\n${BATTERY}\n`,
      { source: 'ups', batteryPercent: 80 },
    ],
    [
      'a battery without id',
      "Now drawing from 'Battery Power'\n -InternalBattery-0\t7%; discharging; (no estimate)\n",
      {
        source: 'battery',
        batteryPercent: 7,
      },
    ],
    ['another source', "Now drawing from 'Solar Power'\n", undefined],
    ['a source in a later line', "Warning\nNow drawing from 'AC Power'\n", undefined],
    ['nothing', '', undefined],
  ])('of %s', (_what, output, power) => {
    expect(powerOf(output)).toEqual(power);
  });

  test('is asked of a Mac only, and is unknown when the tool fails', async () => {
    const works = new ScriptedCommands({ '/usr/bin/pmset -g batt': "Now drawing from 'AC Power'\n" });
    expect(await readPower(works, 'darwin')).toEqual({ source: 'ac' });
    expect(await readPower(works, 'linux')).toBeUndefined();
    const fails = new ScriptedCommands({
      '/usr/bin/pmset': { code: 'timeout', stdout: "Now drawing from 'AC Power'\n" },
    });
    expect(await readPower(fails, 'darwin')).toBeUndefined();
  });
});

describe('the last wake', () => {
  const wokeAt = (value: string) => new ScriptedCommands({ '/usr/sbin/sysctl -i kern.waketime': value });

  test('is a moment in ms', async () => {
    const commands = wokeAt('kern.waketime: { sec = 1787929257, usec = 563642 } Fri Aug 28 08:00:57 2026\n');
    expect(await readWakeTime(commands, 'darwin')).toBe(1_787_929_257_563);
    expect(await readWakeTime(commands, 'linux')).toBeUndefined();
  });

  test('of a Mac that has not slept is none', async () => {
    const commands = wokeAt('kern.waketime: { sec = 0, usec = 0 } Thu Jan  1 01:00:00 1970\n');
    expect(await readWakeTime(commands, 'darwin')).toBeUndefined();
    expect(await readWakeTime(wokeAt(''), 'darwin')).toBeUndefined();
  });

  test('of another form is not guessed', () => {
    expect(kernelTimeOf('1787929257')).toBeUndefined();
  });
});
