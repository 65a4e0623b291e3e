import { describe, expect, test } from 'vitest';
import { systemCommands } from '../../src/machine/commands.js';
import { readHardware } from '../../src/machine/hardware.js';
import { readMemory } from '../../src/machine/memory.js';
import { Metrics } from '../../src/machine/metrics.js';
import { readPosture } from '../../src/machine/posture.js';
import { Hardware, PrivacyCapabilities, SystemMetrics } from '../../src/protocol/provider-messages.js';
import { ScriptedCommands } from './scripted-commands.js';

const PROFILER = '/usr/sbin/system_profiler -json -detailLevel mini SPDisplaysDataType';

describe('the hardware of a Mac', () => {
  const sysctl = [
    'hw.model: Mac16,5',
    'hw.memsize: 51539607552',
    'hw.ncpu: 16',
    'machdep.cpu.brand_string: Apple M4 Max',
    'hw.perflevel0.physicalcpu: 12',
    'hw.perflevel1.physicalcpu: 4',
  ].join('\n');
  const displays = JSON.stringify({ SPDisplaysDataType: [{ sppci_model: 'Apple M4 Max', sppci_cores: '40' }] });

  test('is read from sysctl and the small report of system_profiler', async () => {
    const commands = new ScriptedCommands({ '/usr/sbin/sysctl': sysctl, [PROFILER]: displays });
    expect(await readHardware(commands, 'darwin')).toMatchObject({
      machine_model: 'Mac16,5',
      chip_name: 'Apple M4 Max',
      chip_family: 'M4',
      chip_tier: 'Max',
      memory_gb: 48,
      cpu_cores: { total: 16, performance: 12, efficiency: 4 },
      gpu_cores: 40,
      memory_bandwidth_gbs: 546,
    });
  });

  test('has no GPU cores and no bandwidth when the report does not come', async () => {
    const commands = new ScriptedCommands({ '/usr/sbin/sysctl': sysctl, [PROFILER]: { code: 'timeout' } });
    expect(await readHardware(commands, 'darwin')).toMatchObject({ gpu_cores: 0, memory_bandwidth_gbs: 0 });
  });

  test('with one kind of core counts all of them as performance', async () => {
    const intel = 'hw.ncpu: 4\nhw.memsize: 8589934592\nmachdep.cpu.brand_string: Intel(R) Core(TM) i3\n';
    expect(await readHardware(new ScriptedCommands({ '/usr/sbin/sysctl': intel }), 'darwin')).toMatchObject({
      machine_model: 'Unknown',
      chip_family: 'Unknown',
      chip_tier: 'Unknown',
      cpu_cores: { total: 4, performance: 4, efficiency: 0 },
    });
  });

  test('is a valid frame part even when nothing can be asked', async () => {
    const hardware = Hardware.parse(await readHardware(new ScriptedCommands({}), 'darwin'));
    expect(hardware).toMatchObject({ machine_model: 'Unknown', chip_name: 'Unknown', memory_bandwidth_gbs: 0 });
  });
});

describe('this machine, asked with its real tools', () => {
  const platform = process.platform;

  test('has cores and memory', async () => {
    const hardware = Hardware.parse(await readHardware(systemCommands, platform));
    expect(hardware.cpu_cores.total).toBeGreaterThan(0);
    expect(hardware.cpu_cores.performance + hardware.cpu_cores.efficiency).toBe(hardware.cpu_cores.total);
    expect(hardware.memory_gb).toBeGreaterThan(0);
    expect(hardware.memory_available_gb).toBeGreaterThan(0);
    expect(hardware.memory_available_gb).toBeLessThanOrEqual(hardware.memory_gb + 1);
    expect(hardware.chip_name).not.toBe('');
  });

  test('has memory for an engine, less than all of it', async () => {
    const memory = await readMemory(systemCommands, platform);
    expect(memory.engineLimitBytes).toBeGreaterThan(0);
    expect(memory.engineLimitBytes).toBeLessThanOrEqual(memory.totalBytes);
    expect(memory.availableBytes).toBeLessThanOrEqual(memory.totalBytes);
  });

  test('has metrics and a posture that the wire accepts', async () => {
    SystemMetrics.parse(await new Metrics(systemCommands, platform).read());
    const { capabilities } = await readPosture(systemCommands, platform, {});
    expect(PrivacyCapabilities.parse(capabilities)).toEqual(capabilities);
  });

  test.skipIf(platform !== 'linux')('forbids core files exactly when its kernel says so', async () => {
    const { stdout } = await systemCommands.run('/bin/sh', ['-c', 'ulimit -S -c; ulimit -H -c']);
    const { capabilities } = await readPosture(systemCommands, platform, {});
    expect(capabilities.core_dumps_disabled).toBe(stdout === '0\n0\n');
  });
});
