import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { capabilityReasons, isUnsafeVariable } from '../../src/machine/posture.js';
import { PACKAGE_ROOT } from '../../src/util/version.js';
import { PROGRAM, RunningCommand } from '../support/command.js';
import { FakeCoordinator } from '../support/fake-coordinator.js';
import { writeLink } from '../support/linking.js';
import { argumentsOf, coreLimitsOf, descendantsOf, environmentOf, hasProc } from '../support/processes.js';
import { TemporaryHome } from '../support/temporary-home.js';

const BUILD = 'local/darkbloom-tiny-chat-f16';
const UNSAFE = { LD_PRELOAD: '', DYLD_INSERT_LIBRARIES: 'x', MallocStackLogging: '1' };
const START = ['start', '--foreground', '--port', '0'];

/** A shell that allows core files of any size, as some systems do, and becomes the program. */
const generous = (...program: string[]): [string, ...string[]] => [
  '/bin/sh',
  '-c',
  'ulimit -c unlimited 2>/dev/null; exec "$@"',
  'sh',
  ...program,
];

/** A daemon of its own process, linked to a coordinator of the test. */
class LinkedProcess implements AsyncDisposable {
  readonly #home = new TemporaryHome();
  readonly coordinator: FakeCoordinator;
  readonly command: RunningCommand;

  constructor(coordinator: FakeCoordinator, env: Record<string, string>, launcher: [string, ...string[]]) {
    writeLink(this.#home.home, coordinator.url, 'eigeninference-pt-of-a-test');
    this.coordinator = coordinator;
    this.command = new RunningCommand(START, this.#home.home.folder, env, launcher);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.command[Symbol.asyncDispose]();
    await this.coordinator[Symbol.asyncDispose]();
    this.#home[Symbol.dispose]();
  }
}

describe.skipIf(!hasProc)('as the kernel sees it', () => {
  let daemon: LinkedProcess;
  let register: Awaited<ReturnType<typeof registered>>;
  let runner: number;
  const registered = (coordinator: FakeCoordinator) => coordinator.received('register');

  beforeAll(async () => {
    daemon = new LinkedProcess(await FakeCoordinator.listen(), UNSAFE, generous(PROGRAM));
    register = await registered(daemon.coordinator);
    const body = { model: BUILD, messages: [{ role: 'user', content: 'Hello!' }], max_tokens: 3 };
    const request = daemon.coordinator.ask(register.public_key ?? '', JSON.stringify(body));
    expect(await request.ended()).toMatchObject({ type: 'inference_complete' });
    const children = descendantsOf(daemon.command.pid);
    expect(children).toHaveLength(1);
    runner = children[0] ?? 0;
  });
  afterAll(() => daemon[Symbol.asyncDispose]());

  test('neither the daemon nor the runner can write a core file, nor raise the limit again', () => {
    expect(argumentsOf(daemon.command.pid).join(' ')).toMatch(/cli\/main\.js start/u);
    expect(argumentsOf(runner).join(' ')).toMatch(/runner\/main\.js/u);
    for (const pid of [daemon.command.pid, runner]) expect(coreLimitsOf(pid)).toEqual(['0', '0']);
  });

  test('neither has a variable that loads foreign code or writes out memory', () => {
    const namesOf = (pid: number) => environmentOf(pid).map((text) => text.slice(0, text.indexOf('=')));
    expect(namesOf(daemon.command.pid)).toContain('DARKBLOOM_PROVIDER_HOME');
    for (const pid of [daemon.command.pid, runner]) expect(namesOf(pid).filter(isUnsafeVariable)).toEqual([]);
    expect(namesOf(runner).filter((name) => name.startsWith('DARKBLOOM'))).toEqual([]);
  });

  test('the coordinator is told the same, and nothing that is not so', () => {
    expect(register.backend).toBe('llama.cpp');
    expect(register.privacy_capabilities).toMatchObject({
      core_dumps_disabled: true,
      env_scrubbed: true,
      sip_enabled: false,
      anti_debug_enabled: false,
      text_backend_inprocess: false,
    });
    expect(register).not.toHaveProperty('attestation');
  });

  test('docs/architecture.md names every capability that may be reported false, with its reason', () => {
    const page = readFileSync(join(PACKAGE_ROOT, 'docs/architecture.md'), 'utf8');
    const reported = Object.entries(register.privacy_capabilities ?? {}).filter(([, value]) => value === false);
    expect(reported.length).toBeGreaterThan(2);
    const names = [...reported.map(([name]) => name), ...Object.keys(capabilityReasons)];
    expect(names.filter((name) => !page.includes(`\`${name}\``))).toEqual([]);
  });

  /** Without the right to core files there is nothing to report. */
  const hardLimitIsZero = hasProc && coreLimitsOf('self')[1] === '0';

  test.skipIf(hardLimitIsZero)('started without its launcher, where core files are allowed, it says so', async () => {
    const main = join(PACKAGE_ROOT, 'dist/cli/main.js');
    const launcher = generous(process.execPath, main);
    await using bare = new LinkedProcess(await FakeCoordinator.listen(), { MallocStackLogging: '1' }, launcher);
    const { privacy_capabilities: said } = await registered(bare.coordinator);
    expect(coreLimitsOf(bare.command.pid)).not.toEqual(['0', '0']);
    expect(said).toMatchObject({ core_dumps_disabled: false, env_scrubbed: false });
  });
});
