import { describe, expect, test } from 'vitest';
import { sealedSystemOf, sipEnabledOf } from '../../src/machine/csrutil.js';
import { gpuCoresOf } from '../../src/machine/displays.js';
import { readHardware } from '../../src/machine/hardware.js';
import { kernelTimeOf, powerOf } from '../../src/machine/power.js';
import { coresByLevel, parseSysctl, wholeNumber } from '../../src/machine/sysctl.js';
import { thermalStateOf } from '../../src/machine/thermal.js';
import { availableBytesOf, parseVmStat, pressureOf } from '../../src/machine/vm-stat.js';
import { isCrashLoop, isDisabledIn, jobStateOf } from '../../src/service/job-state.js';
import { exitOf, type Verb } from '../../src/service/launchctl-exit.js';
import { hasRecordings, recorded, recordingsOf, recordingsRead } from '../support/recordings.js';
import { ScriptedCommands } from './scripted-commands.js';

/** Recordings of what this program does not call, by the beginning of their path. */
const UNUSED: Readonly<Record<string, string>> = {
  'hardware/sphardware.': 'SPHardwareDataType is not asked: sysctl says the same, in one form on every release',
  'hardware/sw_vers.': 'the version of the system decides nothing',
  'launchctl/list.': 'print is asked instead: list gives raw wait statuses',
  'launchctl/load.': 'the old verb is not used: it exits with 0 when it fails',
  'launchctl/unload.': 'the old verb is not used: it exits with 0 when it fails',
  'launchctl/log-show.': 'the unified log is not read: it takes long, and its silence proves nothing',
  'memory/ggml-metal.': 'lines that the engine prints; it is asked through its API',
  'memory/memory_pressure': 'vm_stat and sysctl are read instead: faster, and one form on every release',
  'power/pmset-assertions': 'whether sleep is held off is known from our own caffeinate',
  'power/pmset-systemstate.': 'not asked',
  'power/pmset-therm': 'says nothing on Apple silicon; notifyutil is asked instead',
  'power/powermetrics-': 'needs root',
  'power/sppower.': 'pmset says the same in one line',
  'security/security-find-generic-password.': 'secrets lie in files with mode 0600, not in the keychain',
  'security/spibridge.': 'its words are translated on systems in other languages; csrutil is asked instead',
};

/** Read by the story that they tell, in test/service/agent.test.ts. */
const READ_ELSEWHERE = ['launchctl/bootstrap-retries-after-bootout.macos26-5-1.excerpt.txt'];

describe.skipIf(!hasRecordings)('recorded outputs of Macs', () => {
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

  test('of pmset give the power source, whatever the battery does, and its charge', () => {
    const read = (file: string) => powerOf(recorded(`power/${file}`));
    const files = recordingsOf('power', /^pmset-batt/);
    expect(Object.fromEntries(files.map((file) => [file, read(file)]))).toEqual({
      'pmset-batt.ac.charged.txt': { source: 'ac', batteryPercent: 100 },
      'pmset-batt.ac.charging-no-estimate.txt': { source: 'ac', batteryPercent: 90 },
      'pmset-batt.ac.charging.txt': { source: 'ac', batteryPercent: 83 },
      'pmset-batt.ac.finishing-charge.txt': { source: 'ac', batteryPercent: 99 },
      'pmset-batt.ac.not-charging.macos26-5-1.txt': { source: 'ac', batteryPercent: 80 },
      'pmset-batt.battery.discharging.txt': { source: 'battery', batteryPercent: 78 },
      'pmset-batt.battery.no-estimate.txt': { source: 'battery', batteryPercent: 53 },
      'pmset-batt.desktop.txt': { source: 'ac' },
    });
  });

  test('of sysctl give a moment of the kernel', () => {
    expect(kernelTimeOf(recorded('hardware/kern.boottime.txt'))).toBe(1_787_929_257_563);
  });

  test('of launchctl give the state of a job', () => {
    const read = (file: string) => {
      const job = jobStateOf(restored(file, recorded(`launchctl/${file}`)));
      if (job === undefined) return undefined;
      const { phase, pid, runs, lastExit, spawnType } = job;
      const ended = lastExit && Object.values(lastExit).slice(1).join();
      return [phase, pid, runs, ended, spawnType, isCrashLoop(job) ? 'in a loop' : 'no loop'];
    };
    const files = recordingsOf('launchctl', /^print\.(?!.*stderr)/);
    expect(Object.fromEntries(files.map((file) => [file, read(file)]))).toEqual({
      'print.gui.crash-loop.ex-config.txt': ['scheduled', undefined, 22_138, '78', 'background (5)', 'in a loop'],
      'print.gui.crash-loop.exit1.excerpt.txt': ['scheduled', undefined, 5282, '1', undefined, 'in a loop'],
      'print.gui.interactive-running.constructed.txt': ['running', 3268, 1, undefined, 'interactive (4)', 'no loop'],
      'print.gui.restart-storm.running.macos27-0.excerpt.txt': ['running', 60_560, 38_771, '1', undefined, 'in a loop'],
      'print.gui.running.keepalive.txt': ['running', 3268, 2, '0', 'daemon (3)', 'no loop'],
      'print.gui.running.submitted.trimmed.txt': ['running', 64_011, 2, '0', undefined, 'no loop'],
      'print.gui.spawn-failed.codesigning.trimmed.txt': [
        'scheduled',
        undefined,
        6,
        'OS_REASON_CODESIGNING',
        undefined,
        'in a loop',
      ],
      'print.gui.spawn-scheduled.exit0.txt': ['scheduled', undefined, 311, '0', 'daemon (3)', 'no loop'],
      'print.gui.xpcproxy.trimmed.txt': ['starting', undefined, 1, undefined, undefined, 'no loop'],
      'print.system.not-running.sshd.macos26-5.txt': ['idle', undefined, 0, undefined, 'interactive (4)', 'no loop'],
      'print.system.running.multiline-argument.macos27-2.trimmed.txt': [
        'running',
        1219,
        1,
        undefined,
        'daemon (3)',
        'no loop',
      ],
      // The beginning, with the state, was cut.
      'print.system.running.otelcol.trimmed.txt': ['unknown', 54_109, 1, undefined, 'daemon (3)', 'no loop'],
      'print.user.not-running.calendar.txt': ['idle', undefined, 1, '0', 'daemon (3)', 'no loop'],
    });
  });

  test('of launchctl give the file, the reason and the time of a job', () => {
    expect(jobStateOf(recorded('launchctl/print.gui.interactive-running.constructed.txt'))).toEqual({
      phase: 'running',
      pid: 3268,
      runs: 1,
      path: '/Users/fixture/Library/LaunchAgents/io.darkbloom.provider.plist',
      program: '/Users/fixture/.local/releases/example/current/venv/bin/python3',
      spawnType: 'interactive (4)',
      startedFor: 'speculative',
      exitTimeoutS: 60,
    });
  });

  test('of launchctl without their tabs are not read at all', () => {
    for (const file of EXCERPTS) expect(jobStateOf(recorded(`launchctl/${file}`))).toBeUndefined();
  });

  test('of launchctl say which services are switched off, in the words of all releases', () => {
    const files = recordingsOf('launchctl', /^print-disabled/);
    const read = (file: string) => {
      const text = recorded(`launchctl/${file}`);
      const labels = [...text.matchAll(/"(.+)" =>/g)].map(([, label]) => label ?? '');
      return labels.filter((label) => isDisabledIn(text, label));
    };
    expect(Object.fromEntries(files.map((file) => [file, read(file)]))).toEqual({
      'print-disabled.gui.macos26-5-1.excerpt.txt': ['com.apple.Siri.agent'],
      'print-disabled.mixed-old-and-new-values.constructed.txt': ['com.example.off', 'com.example.legacy-off'],
    });
  });

  test('of failures of launchctl lead to an action', () => {
    const files = recordingsOf('launchctl', /stderr/).filter((file) => !/^(?:un)?load\./.test(file));
    const read = (file: string) => {
      const code = Number(/exit(\d+)/.exec(file)?.[1]);
      return exitOf(verbOf(file), { code, stderr: recorded(`launchctl/${file}`) }).action;
    };
    expect(Object.fromEntries(files.map((file) => [file, read(file)]))).toEqual({
      'bootout.exit125.stderr.txt': 'no_session',
      'bootout.exit3.macos26-6.stderr.txt': 'not_loaded',
      'bootout.exit36.stderr.txt': 'try_again',
      'bootout.exit5.stderr.txt': 'try_again',
      'bootstrap.exit119.stderr.txt': 'enable_first',
      'bootstrap.exit125.ssh.stderr.txt': 'no_session',
      'bootstrap.exit134.stderr.constructed.txt': 'give_up',
      'bootstrap.exit37.stderr.txt': 'try_again',
      'bootstrap.exit5.macos11-6.stderr.txt': 'try_again',
      'bootstrap.exit5.stderr.txt': 'try_again',
      'kickstart.exit1.not-permitted.stderr.txt': 'give_up',
      'kickstart.exit150.sip.stderr.txt': 'give_up',
      'print.no-domain.stderr.exit112.txt': 'no_session',
      'print.not-found.stderr.exit113.txt': 'not_loaded',
    });
  });

  test('of the codes of launchctl have a sentence each, with the code or the way out', () => {
    const [, ...lines] = recorded('launchctl/error-codes.tsv').trimEnd().split('\n');
    expect(lines.length).toBeGreaterThan(50);
    for (const line of lines) {
      const [code = '', text = ''] = line.split('\t');
      const stderr = `Bootstrap failed: ${code}: ${text}\nTry re-running the command as root for richer errors.\n`;
      const { sentence } = exitOf('bootstrap', { code: Number(code), stderr });
      expect(sentence).toMatch(new RegExp(`\\(${code}\\)|failed: ${code}: |Log in on the screen`));
      expect(sentence).not.toContain('as root');
    }
  });

  test('are all read, or not used for a reason', () => {
    const { all, read } = recordingsRead();
    const reasonOf = (path: string) => Object.entries(UNUSED).find(([beginning]) => path.startsWith(beginning))?.[1];
    const isRead = (path: string) => read.has(path) || READ_ELSEWHERE.includes(path);
    const unused = all.filter((path) => !isRead(path));
    const skipped = unused.filter((path) => reasonOf(path) === undefined);
    const lines = unused.map((path) => `  ${path}: ${reasonOf(path) ?? 'SKIPPED'}`);
    const counts = `${all.length - unused.length} read, ${skipped.length} skipped, ${unused.length - skipped.length} unused`;
    process.stdout.write([`Recordings: ${counts}:`, ...lines, ''].join('\n'));
    expect(skipped).toEqual([]);
    // A reason that fits nothing, or something that is read, is out of date.
    const idle = Object.keys(UNUSED).filter((beginning) => !unused.some((path) => path.startsWith(beginning)));
    expect(idle).toEqual([]);
  });
});

/** Selected lines of a longer output, whose indentation their source has lost. */
const EXCERPTS = ['print.gui.crash-loop.exit1.excerpt.txt', 'print.gui.restart-storm.running.macos27-0.excerpt.txt'];

/** The recording as launchctl prints it. */
function restored(file: string, text: string): string {
  return EXCERPTS.includes(file) ? text.replaceAll(/^\s*(?=\S)/gm, '\t') : text;
}

function verbOf(file: string): Verb {
  const verbs: readonly Verb[] = ['bootout', 'bootstrap', 'kickstart', 'print'];
  const verb = verbs.find((known) => file.startsWith(known));
  if (verb === undefined) throw new TypeError(`${file} is of no verb that is used.`);
  return verb;
}
