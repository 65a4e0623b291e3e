import { describe, expect, test } from 'vitest';
import { limitsForbidCore, ulimitForbidsCore } from '../../src/machine/core-dumps.js';
import { sealedSystemOf, sipEnabledOf } from '../../src/machine/csrutil.js';
import { capabilityReasons, isUnsafeVariable, readPosture } from '../../src/machine/posture.js';
import { PrivacyCapabilities } from '../../src/protocol/provider-messages.js';
import { ScriptedCommands } from './scripted-commands.js';

const SOUND_MAC = {
  '/usr/bin/csrutil status': 'System Integrity Protection status: enabled.\n',
  '/usr/bin/csrutil authenticated-root status': 'Authenticated Root status: enabled\n',
  '/usr/bin/rdma_ctl status': 'disabled\n',
  '/usr/sbin/sysctl -i kern.hv_vmm_present': 'kern.hv_vmm_present: 0\n',
  '/bin/sh -c ulimit -S -c; ulimit -H -c': '0\n0\n',
};

describe('System Integrity Protection', () => {
  test.each([
    ['System Integrity Protection status: enabled.\n', true],
    ['System Integrity Protection status: enabled.', true],
    ['System Integrity Protection status: disabled.\n', false],
    ['System Integrity Protection status: enabled (Custom Configuration).\n', false],
    ['System Integrity Protection status: unknown (Custom Configuration).\n\n\tKext Signing: enabled\n', false],
    ['Warning\nSystem Integrity Protection status: enabled.\n', false],
    ['enabled.', false],
    ['', false],
  ])('as told by %j is on: %s', (output, expected) => {
    expect(sipEnabledOf(output)).toBe(expected);
  });
});

describe('the sealed system volume', () => {
  test.each([
    ['Authenticated Root status: enabled\n', true],
    ['Authenticated Root status: enabled.\n', true],
    ['Authenticated Root status: disabled\n', false],
    ['Authenticated Root status: unknown\n', undefined],
    ['csrutil: invalid option\n', undefined],
    ['', undefined],
  ])('as told by %j is: %s', (output, expected) => {
    expect(sealedSystemOf(output)).toBe(expected);
  });
});

describe('core files', () => {
  const header = 'Limit                     Soft Limit           Hard Limit           Units     \n';
  const row = (soft: string, hard: string): string =>
    `${header}Max core file size        ${soft.padEnd(20)} ${hard.padEnd(20)} bytes     \n`;

  test.each([
    [row('0', '0'), true],
    [row('0', 'unlimited'), false],
    [row('unlimited', 'unlimited'), false],
    [row('1024', '1024'), false],
    ['Max data size        0        0     bytes\n', false],
    ['', false],
  ])('are forbidden only by two zeros in the limits of the process (%#)', (limits, expected) => {
    expect(limitsForbidCore(limits)).toBe(expected);
  });

  test.each([
    ['0\n0\n', true],
    ['0\nunlimited\n', false],
    ['unlimited\nunlimited\n', false],
    ['0\n', false],
    ['00\n', false],
    ['', false],
  ])('are forbidden only by two zeros of ulimit (%j)', (output, expected) => {
    expect(ulimitForbidsCore(output)).toBe(expected);
  });
});

describe('an environment variable', () => {
  test.each([
    'DYLD_INSERT_LIBRARIES',
    'DYLD_LIBRARY_PATH',
    'DYLD_FRAMEWORK_PATH',
    'LD_PRELOAD',
    'LD_LIBRARY_PATH',
    'MallocStackLogging',
    'MallocScribble',
    'NSZombieEnabled',
    'OBJC_DEBUG_POOL_ALLOCATION',
    'CFNETWORK_DIAGNOSTICS',
  ])('%s is unsafe', (name) => {
    expect(isUnsafeVariable(name)).toBe(true);
  });

  test.each(['PATH', 'HOME', 'MALLOC_ARENA_MAX', 'NODE_ENV', 'MY_LD_PRELOAD'])('%s is not', (name) => {
    expect(isUnsafeVariable(name)).toBe(false);
  });
});

describe('the posture', () => {
  test('of a sound Mac claims what was asked and nothing more', async () => {
    expect(await readPosture(new ScriptedCommands(SOUND_MAC), 'darwin', { PATH: '/usr/bin' })).toEqual({
      sipEnabled: true,
      secureBootEnabled: true,
      rdmaDisabled: true,
      capabilities: {
        text_backend_inprocess: false,
        text_proxy_disabled: true,
        python_runtime_locked: true,
        dangerous_modules_blocked: true,
        sip_enabled: true,
        anti_debug_enabled: false,
        core_dumps_disabled: true,
        env_scrubbed: true,
        hypervisor_active: false,
      },
    });
  });

  test('of a Mac where no tool answers claims nothing', async () => {
    const answerless = { code: 'timeout', stdout: '' } as const;
    const script = Object.fromEntries(Object.keys(SOUND_MAC).map((call) => [call, answerless]));
    const posture = await readPosture(new ScriptedCommands(script), 'darwin', {});
    expect(posture).toMatchObject({ sipEnabled: false, secureBootEnabled: undefined, rdmaDisabled: false });
    expect(posture.capabilities).toMatchObject({ sip_enabled: false, core_dumps_disabled: false });
    expect(posture.capabilities).not.toHaveProperty('hypervisor_active');
  });

  test('does not believe a tool that failed, whatever it printed', async () => {
    const script = Object.fromEntries(Object.entries(SOUND_MAC).map(([call, stdout]) => [call, { code: 1, stdout }]));
    const posture = await readPosture(new ScriptedCommands(script), 'darwin', {});
    expect(posture).toMatchObject({ sipEnabled: false, secureBootEnabled: undefined, rdmaDisabled: false });
    expect(posture.capabilities.core_dumps_disabled).toBe(false);
  });

  test.each([
    ['without the tool', { code: 'missing' as const }, true],
    ['that says disabled', 'disabled\n', true],
    ['that says enabled', 'enabled\n', false],
    ['that says something else', 'not disabled\n', false],
  ])('of a Mac %s tells whether RDMA is off', async (_what, answer, expected) => {
    const commands = new ScriptedCommands({ ...SOUND_MAC, '/usr/bin/rdma_ctl status': answer });
    expect((await readPosture(commands, 'darwin', {})).rdmaDisabled).toBe(expected);
  });

  test('of a virtual Mac says so', async () => {
    const virtual = { ...SOUND_MAC, '/usr/sbin/sysctl -i kern.hv_vmm_present': 'kern.hv_vmm_present: 1\n' };
    const { capabilities } = await readPosture(new ScriptedCommands(virtual), 'darwin', {});
    expect(capabilities.hypervisor_active).toBe(true);
  });

  test('with an unsafe variable is not scrubbed, even if the variable is empty', async () => {
    const { capabilities } = await readPosture(new ScriptedCommands(SOUND_MAC), 'darwin', { LD_PRELOAD: '' });
    expect(capabilities.env_scrubbed).toBe(false);
  });

  test('elsewhere than on a Mac has no System Integrity Protection and no RDMA, and asks no Mac tool', async () => {
    const commands = new ScriptedCommands(SOUND_MAC);
    const posture = await readPosture(commands, 'linux', {});
    expect(commands.calls).toEqual([]);
    expect(posture).toMatchObject({ sipEnabled: false, secureBootEnabled: undefined, rdmaDisabled: true });
    expect(posture.capabilities.sip_enabled).toBe(false);
  });

  test('has a sentence for every capability of the wire', () => {
    expect(Object.keys(capabilityReasons).sort()).toEqual(Object.keys(PrivacyCapabilities.shape).sort());
    for (const reason of Object.values(capabilityReasons)) expect(reason).toMatch(/^[A-Z].*\.$/);
  });
});
