import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { sealedSystemOf, sipEnabledOf } from '../../src/machine/csrutil.js';
import { gpuCoresOf } from '../../src/machine/displays.js';
import { readHardware } from '../../src/machine/hardware.js';
import { coresByLevel, parseSysctl, wholeNumber } from '../../src/machine/sysctl.js';
import { thermalStateOf } from '../../src/machine/thermal.js';
import { availableBytesOf, parseVmStat, pressureOf } from '../../src/machine/vm-stat.js';
import { ScriptedCommands } from './scripted-commands.js';

/** Outputs recorded on Macs. They are not part of this repository; where they lie beside it, they are read in place. */
const RECORDINGS = new URL('../../../shared/fixtures/macos/', import.meta.url);

const recorded = (path: string): string => readFileSync(new URL(path, RECORDINGS), 'utf8');

/** Every recording of a folder that belongs to one tool, so that a new one cannot go unread. */
function recordingsOf(folder: string, pattern: RegExp): string[] {
  return readdirSync(new URL(`${folder}/`, RECORDINGS))
    .filter((file) => pattern.test(file))
    .sort();
}

describe.skipIf(!existsSync(RECORDINGS))('recorded outputs of Macs', () => {
  test('of sysctl give cores by level', () => {
    const read = (file: string) => coresByLevel(parseSysctl(recorded(`hardware/${file}`)));
    const files = recordingsOf('hardware', /^sysctl\./);
    expect(Object.fromEntries(files.map((file) => [file, read(file)]))).toEqual({
      'sysctl.m1pro.hw-excerpt.txt': { performance: 8, efficiency: 2 },
      'sysctl.m5.reassembled.macos26-6-2.constructed.txt': { performance: 4, efficiency: 6 },
      'sysctl.perflevels.m5max.txt': { performance: 6, efficiency: 12 },
      'sysctl.values.m2ultra.memsize-ncpu-brand.txt': undefined,
      'sysctl.vm.m1-virtual.macos26-6-2.txt': { performance: 3, efficiency: 0 },
    });
  });

  test("of sysctl give the owner's limit for the GPU", () => {
    const read = (file: string) => wholeNumber(parseSysctl(recorded(`memory/${file}`)), 'iogpu.wired_limit_mb');
    const files = recordingsOf('memory', /^sysctl/);
    expect(Object.fromEntries(files.map((file) => [file, read(file)]))).toEqual({
      // Values without names: which is which, nobody can say.
      'sysctl-n.brand-memsize-wired_limit.m5max-128gb.macos26-6-2.txt': undefined,
      'sysctl-n.vm.swapusage.used.txt': undefined,
      'sysctl.memory-keys.critical.constructed.txt': 114_688,
      'sysctl.memory-keys.normal.constructed.txt': 0,
      'sysctl.memory-keys.warning.constructed.txt': 0,
      'sysctl.unknown-oid.stderr.constructed.txt': undefined,
      'sysctl.vm.swapusage.nearly-full.txt': undefined,
    });
  });

  test('of system_profiler give the cores of the GPU, and its text form gives none', () => {
    const read = (file: string) => gpuCoresOf(recorded(`hardware/${file}`));
    const files = recordingsOf('hardware', /spdisplays/);
    expect(Object.fromEntries(files.map((file) => [file, read(file)]))).toEqual({
      'spdisplays.m1pro-14core.two-external.json': 14,
      'spdisplays.m2max-30core.macos15.json': 30,
      'spdisplays.m3max-40core.headless.json': 40,
      'spdisplays.m3pro-14core.trimmed.json': 14,
      'spdisplays.m4-10core.trimmed.json': 10,
      'spdisplays.m5-10core.macos26-6-2.json': 10,
      'spdisplays.text.m5max-40core.external.excerpt.txt': 0,
      'sphardware-spdisplays.text.m3max.mac15-8.excerpt.txt': 0,
    });
  });

  test('of vm_stat give available memory and pressure', () => {
    const read = (file: string) => {
      const memory = parseVmStat(recorded(`memory/${file}`));
      return memory && [availableBytesOf(memory) / 16_384, pressureOf(memory).toFixed(3)];
    };
    const files = recordingsOf('memory', /^vm_stat/);
    expect(Object.fromEntries(files.map((file) => [file, read(file)]))).toEqual({
      'vm_stat.m4-16gb.macos26-5-1.cache-large.txt': [474_092, '0.616'],
      'vm_stat.m4-16gb.macos26-5-1.cache-small.txt': [437_419, '0.592'],
      'vm_stat.m4-16gb.macos26-5.txt': [431_943, '0.595'],
      'vm_stat.m5pro-48gb.macos26-6-2.txt': [2_138_288, '0.313'],
    });
  });

  test('of csrutil say enabled only where everything is', () => {
    const read = (file: string) => sipEnabledOf(recorded(`security/${file}`));
    const files = recordingsOf('security', /^csrutil-status/);
    expect(Object.fromEntries(files.map((file) => [file, read(file)]))).toEqual({
      'csrutil-status.custom.all-off.macos10-15.txt': false,
      'csrutil-status.custom.apple-silicon.macos12-5.txt': false,
      'csrutil-status.custom.nvram-only.txt': false,
      'csrutil-status.disabled.txt': false,
      'csrutil-status.enabled-custom.macos10-11.txt': false,
      'csrutil-status.enabled.txt': true,
    });
  });

  test('of csrutil tell whether the system volume is sealed', () => {
    const read = (file: string) => sealedSystemOf(recorded(`security/${file}`));
    const files = recordingsOf('security', /^csrutil-authenticated-root/);
    expect(Object.fromEntries(files.map((file) => [file, read(file)]))).toEqual({
      'csrutil-authenticated-root.disabled.txt': false,
      'csrutil-authenticated-root.enabled.txt': true,
    });
  });

  test('of notifyutil give the thermal state, and a failure gives none', () => {
    const read = (file: string) => thermalStateOf(recorded(`power/${file}`));
    const files = recordingsOf('power', /^notifyutil/);
    expect(Object.fromEntries(files.map((file) => [file, read(file)]))).toEqual({
      'notifyutil.failed.constructed.txt': undefined,
      'notifyutil.thermalpressurelevel.0.txt': 'nominal',
      'notifyutil.thermalpressurelevel.1.constructed.txt': 'fair',
      'notifyutil.thermalpressurelevel.2.constructed.txt': 'serious',
      'notifyutil.thermalpressurelevel.3.constructed.txt': 'critical',
      'notifyutil.thermalpressurelevel.4.constructed.txt': 'critical',
      'notifyutil.unknown-key.txt': undefined,
    });
  });

  test('of one M5 make its whole hardware', async () => {
    const commands = new ScriptedCommands({
      '/usr/sbin/sysctl': recorded('hardware/sysctl.m5.reassembled.macos26-6-2.constructed.txt'),
      '/usr/sbin/system_profiler': recorded('hardware/spdisplays.m5-10core.macos26-6-2.json'),
      '/usr/bin/vm_stat': recorded('memory/vm_stat.m4-16gb.macos26-5.txt'),
    });
    expect(await readHardware(commands, 'darwin')).toEqual({
      machine_model: 'Mac17,2',
      chip_name: 'Apple M5',
      chip_family: 'M5',
      chip_tier: 'Base',
      memory_gb: 24,
      memory_available_gb: 6.59,
      cpu_cores: { total: 10, performance: 4, efficiency: 6 },
      gpu_cores: 10,
      memory_bandwidth_gbs: 153,
    });
  });

  test('of a virtual M1 make a hardware without GPU, with the cores of its only level', async () => {
    const commands = new ScriptedCommands({
      '/usr/sbin/sysctl': recorded('hardware/sysctl.vm.m1-virtual.macos26-6-2.txt'),
      '/usr/bin/vm_stat': recorded('memory/vm_stat.m4-16gb.macos26-5.txt'),
    });
    expect(await readHardware(commands, 'darwin')).toMatchObject({
      machine_model: 'VirtualMac2,1',
      chip_family: 'M1',
      chip_tier: 'Base',
      memory_gb: 7,
      cpu_cores: { total: 3, performance: 3, efficiency: 0 },
      gpu_cores: 0,
    });
  });
});
