import { readFile } from 'node:fs/promises';
import type { PrivacyCapabilities } from '../protocol/provider-messages.js';
import type { Commands } from './commands.js';
import { coreDumpsDisabled } from './core-dumps.js';
import { sealedSystemOf, sipEnabledOf } from './csrutil.js';
import { readSysctl, wholeNumber } from './sysctl.js';

const CSRUTIL = '/usr/bin/csrutil';
const RDMA_CTL = '/usr/bin/rdma_ctl';
const HYPERVISOR_KEY = 'kern.hv_vmm_present';

/** Variables that load foreign code into a process or make it write out what is in its memory. */
const UNSAFE_VARIABLES: ReadonlySet<string> = new Set([
  'NODE_OPTIONS',
  'NODE_V8_COVERAGE',
  'LD_AUDIT',
  'LD_PRELOAD',
  'LD_LIBRARY_PATH',
  'NSZombieEnabled',
  'OBJC_DEBUG_POOL_ALLOCATION',
  'CFNETWORK_DIAGNOSTICS',
]);

/** Security facts of this machine and process: what was seen to be so, never what is hoped. */
export interface Posture {
  /** False on a machine that is not a Mac. */
  sipEnabled: boolean;
  /** Whether the system volume is sealed, the nearest thing that can be asked without root. `undefined`: not known. */
  secureBootEnabled: boolean | undefined;
  /** True if the system has no RDMA over Thunderbolt, or says that it is off. */
  rdmaDisabled: boolean;
  capabilities: PrivacyCapabilities;
}

/** What `false` means for each capability, one sentence each. */
export const capabilityReasons: Record<keyof PrivacyCapabilities, string> = {
  text_backend_inprocess: 'Each model runs in a child process, so decryption and inference are not in one process.',
  text_proxy_disabled: 'A local HTTP hop lies between decryption and the engine.',
  python_runtime_locked: 'A Python runtime that can be changed takes part in inference.',
  dangerous_modules_blocked: 'A Python runtime that can load any module takes part in inference.',
  sip_enabled: 'System Integrity Protection is off, changed or could not be read, or this machine is not a Mac.',
  anti_debug_enabled: 'Another process of the same user can attach a debugger: refusing one takes native code.',
  core_dumps_disabled: 'The limit for core files is not known to be 0, so a crash could write memory to disk.',
  env_scrubbed: 'The environment has a variable that can load foreign code or make the process write out its memory.',
  hypervisor_active: 'The kernel does not say that this is a virtual machine.',
};

/** Asks the system. Never rejects: what cannot be read is never reported as good. */
export async function readPosture(
  commands: Commands,
  platform: NodeJS.Platform,
  env: NodeJS.ProcessEnv,
): Promise<Posture> {
  const [mac, coreDumps] = await Promise.all([
    platform === 'darwin' ? readMacFacts(commands) : readOtherFacts(),
    coreDumpsDisabled(commands, platform),
  ]);
  const { sipEnabled, secureBootEnabled, rdmaDisabled, hypervisorActive } = mac;
  return {
    sipEnabled,
    secureBootEnabled,
    rdmaDisabled,
    capabilities: {
      text_backend_inprocess: false,
      text_proxy_disabled: true,
      // No Python is embedded.
      python_runtime_locked: true,
      dangerous_modules_blocked: true,
      sip_enabled: sipEnabled,
      anti_debug_enabled: false,
      core_dumps_disabled: coreDumps,
      env_scrubbed: !Object.keys(env).some(isUnsafeVariable),
      ...(hypervisorActive === undefined ? {} : { hypervisor_active: hypervisorActive }),
    },
  };
}

/** True for a variable that must not be in the environment of a process that sees prompts. */
export function isUnsafeVariable(name: string): boolean {
  return UNSAFE_VARIABLES.has(name) || name.startsWith('Malloc') || name.startsWith('DYLD_');
}

interface SystemFacts extends Omit<Posture, 'capabilities'> {
  /** `undefined`: not known. */
  hypervisorActive: boolean | undefined;
}

const CPU_INFO = '/proc/cpuinfo';

/** A machine that is not a Mac. On Linux the kernel's processor flags say whether it is a virtual one. */
async function readOtherFacts(): Promise<SystemFacts> {
  const cpuInfo = await readFile(CPU_INFO, 'utf8').catch(() => '');
  return {
    sipEnabled: false,
    secureBootEnabled: undefined,
    rdmaDisabled: true,
    hypervisorActive: /^flags\s*:.*\bhypervisor\b/mu.test(cpuInfo),
  };
}

async function readMacFacts(commands: Commands): Promise<SystemFacts> {
  const [sip, sealed, rdma, values] = await Promise.all([
    commands.run(CSRUTIL, ['status']),
    commands.run(CSRUTIL, ['authenticated-root', 'status']),
    commands.run(RDMA_CTL, ['status']),
    readSysctl(commands, [HYPERVISOR_KEY]),
  ]);
  const hypervisor = wholeNumber(values, HYPERVISOR_KEY);
  return {
    sipEnabled: sip.code === 0 && sipEnabledOf(sip.stdout),
    secureBootEnabled: sealed.code === 0 ? sealedSystemOf(sealed.stdout) : undefined,
    // A system without the tool has no RDMA.
    rdmaDisabled: rdma.code === 'missing' || (rdma.code === 0 && rdma.stdout.trim() === 'disabled'),
    hypervisorActive: hypervisor === undefined ? undefined : hypervisor !== 0,
  };
}
