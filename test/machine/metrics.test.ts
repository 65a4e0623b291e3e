import { describe, expect, test } from 'vitest';
import { CpuMeter, type CoreTimes } from '../../src/machine/cpu-meter.js';
import { Metrics } from '../../src/machine/metrics.js';
import { readThermalState, thermalStateOf } from '../../src/machine/thermal.js';
import { SystemMetrics } from '../../src/protocol/provider-messages.js';
import { ScriptedCommands } from './scripted-commands.js';

const NOTIFYUTIL = '/usr/bin/notifyutil -g com.apple.system.thermalpressurelevel';
const THERMAL_KEY = 'com.apple.system.thermalpressurelevel';

describe('the CPU meter', () => {
  /** A meter that sees these looks one after the other, the last one again and again. */
  function meterOf(...looks: CoreTimes[][]): CpuMeter {
    let next = 0;
    return new CpuMeter(() => looks[Math.min(next++, looks.length - 1)] ?? []);
  }
  const core = (busy: number, idle: number): CoreTimes => ({ user: busy, nice: 0, sys: 0, idle, irq: 0 });

  test('gives the share since the last call over all cores, not since the machine started', () => {
    const meter = meterOf(
      [core(1000, 0), core(1000, 0)],
      [core(1100, 0), core(1000, 100)],
      [core(1100, 100), core(1000, 200)],
    );
    expect(meter.usage()).toBe(0.5);
    expect(meter.usage()).toBe(0);
  });

  test('counts every kind of work', () => {
    const meter = meterOf(
      [{ user: 0, nice: 0, sys: 0, idle: 0, irq: 0 }],
      [{ user: 1, nice: 1, sys: 1, idle: 1, irq: 1 }],
    );
    expect(meter.usage()).toBe(0.8);
  });

  test('repeats the last share when no time has passed', () => {
    const meter = meterOf([core(0, 0)], [core(30, 70)]);
    expect(meter.usage()).toBe(0.3);
    expect(meter.usage()).toBe(0.3);
  });

  test('stays between 0 and 1 when a core goes away or the system names none', () => {
    expect(meterOf([core(500, 100), core(500, 100)], [core(520, 900)]).usage()).toBe(0);
    expect(meterOf([core(10, 900)], [core(2000, 0)]).usage()).toBe(1);
    expect(meterOf([]).usage()).toBe(0);
  });
});

describe('the thermal state', () => {
  test.each([
    [`${THERMAL_KEY} 0\n`, 'nominal'],
    [`${THERMAL_KEY} 1\n`, 'fair'],
    [`${THERMAL_KEY} 2\n`, 'serious'],
    [`${THERMAL_KEY} 3\n`, 'critical'],
    [`${THERMAL_KEY} 4\n`, 'critical'],
    [`${THERMAL_KEY} 5\n`, undefined],
    [`${THERMAL_KEY}: Failed with code 9\n`, undefined],
    ['com.apple.system.another.key 0\n', undefined],
    [`${THERMAL_KEY}\n`, undefined],
    ['', undefined],
  ])('of %j is %s', (output, expected) => {
    expect(thermalStateOf(output)).toBe(expected);
  });

  test('is not known when the tool fails, hangs or is missing, and elsewhere nothing is asked', async () => {
    const hot = `${THERMAL_KEY} 3\n`;
    for (const code of [1, 'timeout', 'missing'] as const) {
      const commands = new ScriptedCommands({ [NOTIFYUTIL]: { code, stdout: hot } });
      expect(await readThermalState(commands, 'darwin')).toBeUndefined();
    }
    const commands = new ScriptedCommands({ [NOTIFYUTIL]: hot });
    expect(await readThermalState(commands, 'linux')).toBeUndefined();
    expect(commands.calls).toEqual([]);
  });
});

describe('metrics', () => {
  test('of a hot Mac say so', async () => {
    const metrics = new Metrics(new ScriptedCommands({ [NOTIFYUTIL]: `${THERMAL_KEY} 2\n` }), 'darwin');
    expect((await metrics.read()).thermal_state).toBe('serious');
  });

  test('have a value for every field of the wire when nothing can be asked', async () => {
    const metrics = new Metrics(new ScriptedCommands({}), 'darwin');
    const read = SystemMetrics.parse(await metrics.read());
    expect(read.thermal_state).toBe('nominal');
    for (const share of [read.memory_pressure, read.cpu_usage]) {
      expect(share).toBeGreaterThanOrEqual(0);
      expect(share).toBeLessThanOrEqual(1);
    }
  });
});
