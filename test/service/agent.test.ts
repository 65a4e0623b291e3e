import { chmodSync, existsSync, mkdirSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Agent } from '../../src/service/agent.js';
import { describeAgent } from '../../src/service/agent-state.js';
import { ManualClock } from '../support/manual-clock.js';
import { hasRecordings, recorded, recordingsOf } from '../support/recordings.js';
import { TemporaryHome } from '../support/temporary-home.js';
import { turned } from '../support/turned.js';
import { failure, ScriptedLaunchd, UID } from './scripted-launchd.js';

const GUI = `gui/${UID}`;
const USER = `user/${UID}`;
const TARGET = `${GUI}/io.darkbloom.provider-node`;

let temporary: TemporaryHome;
let clock: ManualClock;
let launchd: ScriptedLaunchd;
let plist: string;
let launcher: string;

beforeEach(() => {
  temporary = new TemporaryHome();
  clock = new ManualClock();
  launchd = new ScriptedLaunchd(clock);
  const { folder } = temporary.home;
  plist = join(folder, 'Library/LaunchAgents/io.darkbloom.provider-node.plist');
  launcher = join(folder, 'home/bin/darkbloom-provider');
});
afterEach(() => temporary[Symbol.dispose]());

function agent(node = '/opt/homebrew/opt/node/bin/node', uid = UID): Agent {
  const { folder: userHome } = temporary.home;
  const folders = { homeFolder: join(userHome, 'home'), userHome, logFolder: join(userHome, 'Logs') };
  return new Agent({ commands: launchd, clock, uid, node, ...folders });
}

const start = (node?: string) => turned(clock, agent(node).start());
const stop = () => turned(clock, agent().stop());
const restart = () => turned(clock, agent().restart());
const uninstall = () => turned(clock, agent().uninstall());
const mode = (path: string) => statSync(path).mode & 0o777;

/** The milliseconds that pass on the clock meanwhile. */
async function lasting<T>(action: () => Promise<T>): Promise<{ ms: number; outcome: T }> {
  const before = clock.now();
  const outcome = await action();
  return { ms: clock.now() - before, outcome };
}

describe('start', () => {
  test('on a Mac without the service writes its files, enables, loads and starts it', async () => {
    expect(await start()).toEqual({ name: 'running', sentence: 'The background service runs as process 4001.' });
    expect(launchd.acts).toEqual([`enable ${TARGET}`, `bootstrap ${GUI} ${plist}`, `kickstart ${TARGET}`]);
    expect([mode(plist), mode(launcher)]).toEqual([0o644, 0o755]);
    expect(existsSync(join(temporary.home.folder, 'Logs'))).toBe(true);
    expect(agent().files).toEqual([plist, launcher]);
  });

  test('of a service that runs and is up to date leaves its process alone', async () => {
    await start();
    launchd.calls.length = 0;
    expect(await start()).toMatchObject({ name: 'running', sentence: expect.stringContaining('4001') as string });
    expect(launchd.acts).toEqual([`enable ${TARGET}`, `kickstart ${TARGET}`]);
  });

  test('of a service that is loaded but does not run starts it', async () => {
    await start();
    launchd.load(GUI, plist, { state: 'not running', pid: undefined, lastExit: '0' });
    expect((await start()).name).toBe('running');
    expect(launchd.count('bootout')).toBe(0);
  });

  test('with a changed definition waits for the drain and for the label, and only then writes the new one', async () => {
    await start();
    Object.assign(launchd.behaviour, { drainMs: 20_000, heldMs: 5_000 });
    const old = readFileSync(plist, 'utf8');
    launchd.watch = () => {
      if (launchd.jobs.has(GUI) && !launchd.acts.some((call) => call.startsWith('bootstrap'))) {
        expect(readFileSync(plist, 'utf8')).toBe(old);
      }
    };
    launchd.calls.length = 0;
    const { ms, outcome } = await lasting(() => start('/usr/local/bin/node'));
    expect(outcome.name).toBe('running');
    expect(ms).toBeGreaterThanOrEqual(24_000);
    expect(readFileSync(plist, 'utf8')).toContain('<string>/usr/local/bin:/usr/bin');
    expect(launchd.count('bootout')).toBe(1);
  });

  test.each([
    ['5 for 5 s', 5, 5_000],
    ['37 for 3 s', 37, 3_000],
    ['36 for 14 s', 36, 14_000],
  ])('tries again while the label is still taken: %s', async (_what, heldWith, heldMs) => {
    await start();
    Object.assign(launchd.behaviour, { heldWith, heldMs });
    const { ms, outcome } = await lasting(() => start('/usr/local/bin/node'));
    expect(outcome.name).toBe('running');
    expect(ms).toBeGreaterThanOrEqual(heldMs);
    expect(launchd.count('bootstrap')).toBeGreaterThan(heldMs / 1_000);
  });

  test('gives up after 15 s of trying, says what is so and what to do', async () => {
    await start();
    launchd.behaviour.heldMs = 3_600_000;
    const { ms, outcome } = await lasting(() => start('/usr/local/bin/node'));
    expect(outcome).toEqual({
      name: 'failed',
      sentence:
        'launchd refused without saying why (5). Run `darkbloom-provider start` again in a minute. ' +
        'The old service is stopped; the next login starts the new one.',
    });
    expect(ms).toBeGreaterThanOrEqual(15_000);
    expect(launchd.count('bootstrap')).toBeGreaterThanOrEqual(30);
    expect(launchd.calls).toContain(`/usr/bin/plutil -lint ${plist}`);
  });

  test('takes a failed bootstrap for a success when launchd has the service all the same', async () => {
    launchd.answers.push(
      { verb: 'print', result: failure('print', 113) },
      { verb: 'print', result: failure('print', 113) },
    );
    launchd.load(GUI, plist); // another start was quicker
    expect((await start()).name).toBe('running');
    expect(launchd.count('bootstrap')).toBe(1);
  });

  test('of a service that launchd took from another file loads ours in its place', async () => {
    await start();
    launchd.load(GUI, '/Library/LaunchAgents/other.plist');
    expect((await start()).name).toBe('running');
    expect(launchd.acts.slice(-4)).toEqual([
      `bootout ${TARGET}`,
      `enable ${TARGET}`,
      `bootstrap ${GUI} ${plist}`,
      `kickstart ${TARGET}`,
    ]);
  });

  test('while the service is on its way out waits for the end and loads it again', async () => {
    await start();
    launchd.behaviour.drainMs = 10_000;
    await launchd.run('/bin/launchctl', ['bootout', TARGET]);
    const { ms, outcome } = await lasting(() => start());
    expect(outcome.name).toBe('running');
    expect(ms).toBeGreaterThanOrEqual(10_000);
  });

  test('enables a service that launchd calls disabled', async () => {
    launchd.answers.push({ verb: 'bootstrap', result: failure('bootstrap', 119) });
    expect((await start()).name).toBe('running');
    expect(launchd.count('enable')).toBe(2);
  });

  test('mends the mode of the property list', async () => {
    launchd.answers.push({ verb: 'bootstrap', result: failure('bootstrap', 122) });
    launchd.watch = (call) => {
      if (call.startsWith('bootstrap') && launchd.count('bootstrap') === 1) chmodSync(plist, 0o666);
    };
    expect((await start()).name).toBe('running');
    expect(mode(plist)).toBe(0o644);
  });

  test('without a session on the screen installs the service for the next login and says so', async () => {
    launchd.behaviour.session = false;
    launchd.isDisabled = true;
    const outcome = await start();
    expect(outcome.name).toBe('waits_for_login');
    expect(outcome.sentence).toMatch(/^Installed; it starts with the next login.*SSH.*start --foreground`\.$/u);
    expect(launchd.count('bootstrap')).toBe(0);
    expect(launchd.acts).toContain(`enable ${USER}/io.darkbloom.provider-node`);
    Object.assign(launchd.behaviour, { session: true });
    launchd.reboot(plist);
    expect(await agent().state()).toMatchObject({ name: 'loaded', job: { phase: 'running' } });
  });

  test('stays in the domain where the service is', async () => {
    launchd.behaviour.session = false;
    launchd.load(USER, '/somewhere/else.plist');
    expect((await start()).name).toBe('running');
    expect(launchd.acts).toContain(`bootstrap ${USER} ${plist}`);
    expect(readFileSync(plist, 'utf8')).toContain('LimitLoadToSessionType');
  });

  test('that macOS lets vanish names the switch that only the owner can turn', async () => {
    launchd.behaviour.dropped = true;
    const outcome = await start();
    expect(outcome.name).toBe('switched_off');
    expect(outcome.sentence).toContain('Login Items & Extensions');
  });

  test.each([
    [1, 'It ended with exit code 1. The last lines in'],
    [65, 'Its Node.js or the package itself is gone'],
    [78, 'the launcher or its folder is gone or may not be run'],
  ])('of a program that ends at once with %d says why', async (endsWith, sentence) => {
    launchd.behaviour.endsWith = endsWith;
    const outcome = await start();
    expect(outcome.name).toBe('failing');
    expect(outcome.sentence).toContain(sentence);
  });

  test.each(['start', 'stop', 'restart', 'uninstall'] as const)(
    'and every other verb is refused to root: %s',
    async (verb) => {
      const { name, sentence } = await turned(clock, agent(undefined, 0)[verb]());
      expect([name, sentence]).toEqual(['failed', expect.stringContaining('without sudo')]);
      expect(launchd.calls).toEqual([]);
    },
  );

  test('that meets the end of the session waits for the next login', async () => {
    launchd.answers.push({ verb: 'bootstrap', result: failure('bootstrap', 5) });
    launchd.watch = (call) => {
      if (call.startsWith('bootstrap')) launchd.behaviour.session = false;
    };
    expect((await start()).name).toBe('waits_for_login');
    expect(launchd.count('bootstrap')).toBe(1);
  });

  test('where there is no launchctl says so', async () => {
    launchd.answers.push({ verb: 'print', result: { code: 'missing' } });
    expect(await start()).toEqual({ name: 'failed', sentence: 'This system has no launchctl: it is not a Mac.' });
    expect(existsSync(plist)).toBe(false);
  });

  test.each([[1], [109], [124], [134], [150], [155]])('does not try again after a plain no: %d', async (code) => {
    launchd.answers.push({ verb: 'bootstrap', result: failure('bootstrap', code) });
    const outcome = await start();
    expect(outcome.name).toBe('failed');
    expect(outcome.sentence).toContain(`(${code})`);
    expect(launchd.count('bootstrap')).toBe(1);
  });

  test('tries once more even after a plain no when the old service was taken down for it', async () => {
    await start();
    launchd.answers.push({ verb: 'bootstrap', result: failure('bootstrap', 1) });
    expect((await start('/usr/local/bin/node')).name).toBe('running');
  });

  test('asks again when launchctl hangs', async () => {
    launchd.answers.push({ verb: 'bootstrap', result: { code: 'timeout' } });
    expect((await start()).name).toBe('running');
    expect(launchd.count('bootstrap')).toBe(2);
  });
});

describe('stop', () => {
  test('ends the service after its drain and survives a reboot, until start', async () => {
    await start();
    launchd.behaviour.drainMs = 31_000;
    const { ms, outcome } = await lasting(stop);
    expect(outcome.name).toBe('stopped');
    expect(ms).toBeGreaterThanOrEqual(31_000);
    launchd.reboot(plist);
    expect(await agent().state()).toEqual({ name: 'off' });
    expect((await start()).name).toBe('running');
    launchd.reboot(plist);
    expect(await agent().state()).toMatchObject({ name: 'loaded' });
  });

  test('of a process that does not end is bounded', async () => {
    await start();
    launchd.behaviour.drainMs = 3_600_000;
    const { ms, outcome } = await lasting(stop);
    expect(outcome).toEqual({ name: 'failed', sentence: 'launchd has not taken the service down in time.' });
    expect(ms).toBeGreaterThanOrEqual(65_000);
    expect(ms).toBeLessThan(70_000);
  });

  test.each([[3], [36], [37], [5], [113], ['timeout' as const]])('goes on after %s', async (code) => {
    await start();
    const result = code === 'timeout' ? { code } : failure('bootout', code);
    launchd.answers.push({ verb: 'bootout', result });
    expect((await stop()).name).toBe('stopped');
    expect(launchd.jobs.size).toBe(0);
  });

  test('without a session on the screen still keeps the service from coming back', async () => {
    await start();
    launchd.behaviour.session = false;
    launchd.jobs.clear();
    expect((await stop()).name).toBe('stopped');
    expect(launchd.isDisabled).toBe(true);
  });

  test('says when the service would come back', async () => {
    await start();
    launchd.answers.push({ verb: 'disable', result: failure('disable', 1, 'Operation not permitted') });
    const { name, sentence } = await stop();
    expect(name).toBe('failed');
    expect(sentence).toMatch(/^Stopped, but it comes back at the next login\. .*Terminal app/u);
  });

  test('where nothing is installed changes nothing', async () => {
    expect(await stop()).toEqual({ name: 'stopped', sentence: 'The background service is not installed.' });
    expect(launchd.acts).toEqual([]);
  });
});

describe('restart', () => {
  test('lets running requests end and keeps the service loaded', async () => {
    await start();
    launchd.behaviour.drainMs = 20_000;
    launchd.calls.length = 0;
    const { ms, outcome } = await lasting(restart);
    expect(outcome).toMatchObject({ name: 'running', sentence: expect.stringContaining('4002') as string });
    expect(ms).toBeGreaterThanOrEqual(20_000);
    expect(launchd.acts).toEqual([`kill SIGTERM ${TARGET}`, `kickstart -k ${TARGET}`]);
  });

  test('ends a process that does not end by itself', async () => {
    await start();
    launchd.behaviour.drainMs = 3_600_000;
    const { ms, outcome } = await lasting(restart);
    expect(outcome.name).toBe('running');
    expect(ms).toBeGreaterThanOrEqual(65_000);
  });

  test('of a service that is not loaded starts it', async () => {
    expect((await restart()).name).toBe('running');
    expect(launchd.count('bootstrap')).toBe(1);
  });

  test('brings the definition up to date', async () => {
    await start();
    writeFileSync(plist, '<plist version="1.0"></plist>');
    expect((await restart()).name).toBe('running');
    expect(launchd.count('bootout')).toBe(1);
  });
});

describe('uninstall', () => {
  test('ends the service and removes its files and its record of a stop', async () => {
    await start();
    await stop();
    expect((await uninstall()).name).toBe('removed');
    expect(agent().files.filter((path) => existsSync(path))).toEqual([]);
    expect(readdirSync(join(temporary.home.folder, 'home'))).toEqual([]);
    expect(launchd.isDisabled).toBe(false);
    expect(await agent().state()).toEqual({ name: 'not_installed' });
  });

  test('takes a running service down first, and leaves the files of others', async () => {
    await start();
    writeFileSync(join(launcher, '../mine'), 'x');
    expect((await uninstall()).name).toBe('removed');
    expect(launchd.jobs.size).toBe(0);
    expect(readdirSync(join(launcher, '..'))).toEqual(['mine']);
  });

  test('of a service that does not end removes nothing', async () => {
    await start();
    launchd.behaviour.drainMs = 3_600_000;
    expect((await uninstall()).name).toBe('failed');
    expect(existsSync(plist)).toBe(true);
  });
});

describe('the state', () => {
  const place = () => {
    mkdirSync(join(plist, '..'), { recursive: true });
    writeFileSync(plist, '');
  };

  test('of an installed service that launchd does not have is not "stopped"', async () => {
    place();
    const state = await agent().state();
    expect(state).toEqual({ name: 'not_loaded' });
    expect(describeAgent(state, '/logs')).toContain('Login Items & Extensions');
  });

  test('without a session cannot be told', async () => {
    place();
    launchd.behaviour.session = false;
    const state = await agent().state();
    expect(state.name).toBe('no_session');
    expect(describeAgent(state, '/logs')).toMatch(/^Whether the background service runs cannot be told\./u);
  });

  test('is unknown when launchctl hangs', async () => {
    launchd.answers.push({ verb: 'print', result: { code: 'timeout' } });
    expect(await agent().state()).toMatchObject({ name: 'unknown' });
  });

  test('of a crash loop is failing, with how often and why', async () => {
    launchd.load(GUI, plist, { state: 'spawn scheduled', pid: undefined, runs: 22_138, lastExit: '78: EX_CONFIG' });
    const state = await agent().state();
    expect(state.name).toBe('failing');
    expect(describeAgent(state, '/logs')).toMatch(/started it 22138 times\. launchd could not start the program/u);
  });

  test.each([
    ['running', 'runs as process'],
    ['xpcproxy', 'is being started'],
    ['SIGTERMed', 'is stopping'],
    ['not running', 'is loaded but does not run'],
    ['spawn scheduled', 'is about to start'],
    ['something new', 'cannot be read'],
  ])('%s is put into words', async (state, words) => {
    launchd.load(GUI, plist, { state });
    expect(describeAgent(await agent().state(), '/logs')).toContain(words);
  });
});

describe.skipIf(!hasRecordings)('recorded exits of launchctl', () => {
  const codeIn = (file: string) => Number(/exit(\d+)/.exec(file)?.[1] ?? /\.failed(\d+)/.exec(file)?.[1]);
  const answer = (file: string) => ({ code: codeIn(file), stderr: recorded(`launchctl/${file}`) });

  test('of bootstrap lead to the right action', async () => {
    const seen: Record<string, [string, number]> = {};
    for (const file of recordingsOf('launchctl', /^bootstrap\.exit/)) {
      launchd = new ScriptedLaunchd(clock);
      launchd.answers.push({ verb: 'bootstrap', result: answer(file) });
      const { name } = await start();
      seen[file] = [name, launchd.count('bootstrap')];
    }
    expect(seen).toEqual({
      'bootstrap.exit119.stderr.txt': ['running', 2],
      'bootstrap.exit125.ssh.stderr.txt': ['waits_for_login', 1],
      'bootstrap.exit134.stderr.constructed.txt': ['failed', 1],
      'bootstrap.exit37.stderr.txt': ['running', 2],
      'bootstrap.exit5.macos11-6.stderr.txt': ['running', 2],
      'bootstrap.exit5.stderr.txt': ['running', 2],
    });
  });

  test('of bootout lead to the right action', async () => {
    const seen: Record<string, string> = {};
    for (const file of recordingsOf('launchctl', /^bootout\.exit/)) {
      launchd = new ScriptedLaunchd(clock);
      await start();
      launchd.answers.push({ verb: 'bootout', result: answer(file) });
      const { name, sentence } = await stop();
      seen[file] = name === 'failed' ? sentence : name;
    }
    expect(seen).toEqual({
      'bootout.exit125.stderr.txt': expect.stringContaining('Log in on the screen') as string,
      'bootout.exit3.macos26-6.stderr.txt': 'stopped',
      'bootout.exit36.stderr.txt': 'stopped',
      'bootout.exit5.stderr.txt': 'stopped',
    });
  });

  test('of kickstart do not hide that the service runs, and are said where it does not', async () => {
    const seen: Record<string, string[]> = {};
    for (const file of recordingsOf('launchctl', /^kickstart\.exit/)) {
      launchd = new ScriptedLaunchd(clock);
      await start();
      launchd.answers.push({ verb: 'kickstart', result: answer(file) });
      const running = await start();
      launchd.load(GUI, plist, { state: 'not running', pid: undefined });
      launchd.answers.push({ verb: 'kickstart', result: answer(file) });
      seen[file] = [running.name, (await start()).sentence];
    }
    expect(seen).toEqual({
      'kickstart.exit1.not-permitted.stderr.txt': ['running', expect.stringContaining('Terminal app') as string],
      'kickstart.exit150.sip.stderr.txt': ['running', expect.stringContaining('System Integrity Protection') as string],
    });
  });

  test('of print tell a service that is not loaded from one that nobody can see', async () => {
    mkdirSync(join(plist, '..'), { recursive: true });
    writeFileSync(plist, '');
    const seen: Record<string, string> = {};
    for (const file of recordingsOf('launchctl', /^print\..*exit11\d/)) {
      launchd.answers.push({ verb: 'print', result: answer(file) });
      seen[file] = (await agent().state()).name;
    }
    expect(seen).toEqual({
      'print.no-domain.stderr.exit112.txt': 'no_session',
      'print.not-found.stderr.exit113.txt': 'not_loaded',
    });
  });

  test('of the measured race after a bootout, one answer every half second, end with a service that runs', async () => {
    const text = recorded('launchctl/bootstrap-retries-after-bootout.macos26-5-1.excerpt.txt');
    const [, last, code] = /^attempt 1\.\.(\d+): rc=(\d+)/m.exec(text) ?? [];
    await start();
    const stderr = recorded('launchctl/bootstrap.exit5.stderr.txt');
    for (let attempt = 1; attempt <= Number(last); attempt++) {
      launchd.answers.push({ verb: 'bootstrap', result: { code: Number(code), stderr } });
    }
    launchd.calls.length = 0;
    expect((await start('/usr/local/bin/node')).name).toBe('running');
    expect(launchd.count('bootstrap')).toBe(11);
  });
});
