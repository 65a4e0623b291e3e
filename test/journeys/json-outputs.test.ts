import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import type { Home } from '../../src/config.js';
import { OUTPUTS } from '../../src/cli/outputs.js';
import { PROGRAM, runCommand, RunningCommand } from '../support/command.js';
import { eventually } from '../support/eventually.js';
import { loopModel } from '../support/made-models.js';
import { problemsWith } from '../support/published-schema.js';
import { TemporaryHome } from '../support/temporary-home.js';
import { sampled } from '../support/costly.js';

/** What launchd sets: a service writes its log to a file. */
const AS_SERVICE = { XPC_SERVICE_NAME: 'io.darkbloom.provider-node' };
/** Variables that make many programs colour what goes into a pipe. */
const COLOURFUL = { CI: 'true', FORCE_COLOR: '1', TERM: 'xterm-256color' };
const ANSWER_TOKENS = 100_000;

type Name = keyof typeof OUTPUTS;
const NAMES = Object.keys(OUTPUTS) as Name[];
/** What a command needs beside its name. */
const MORE_ARGUMENTS: Partial<Record<Name, string[]>> = { 'config get': ['http.port'] };

const argumentsOf = (name: Name) => [...name.split(' '), ...(MORE_ARGUMENTS[name] ?? []), '--json'];
const fileOf = (name: Name) => `${name.replaceAll(/[^a-z]+/gu, '-')}.json`;

/** A home in one of the states that a reader may meet. */
interface Scene extends AsyncDisposable {
  home: Home;
}

function newHome(): TemporaryHome {
  const temporary = new TemporaryHome();
  writeFileSync(
    temporary.home.config,
    `[http]\nport = 0\n[engine]\ncontext_tokens = 65536\n[models.files]\nloop = "${loopModel()}"\n`,
  );
  return temporary;
}

async function started(temporary: TemporaryHome): Promise<RunningCommand> {
  const daemon = new RunningCommand(['start', '--foreground'], temporary.home.folder, AS_SERVICE);
  await eventually('it serves', async () => {
    const { stdout } = await runCommand(['local', '--json'], temporary.home.folder);
    return stdout === '{}\n' ? undefined : stdout;
  });
  return daemon;
}

async function nothingInstalled(): Promise<Scene> {
  const temporary = new TemporaryHome();
  return { home: temporary.home, [Symbol.asyncDispose]: async () => temporary[Symbol.dispose]() };
}

async function idle(): Promise<Scene> {
  const temporary = newHome();
  const daemon = await started(temporary);
  return {
    home: temporary.home,
    [Symbol.asyncDispose]: async () => {
      await daemon[Symbol.asyncDispose]();
      temporary[Symbol.dispose]();
    },
  };
}

/** A request goes on as long as nobody reads its answer. */
async function busy(): Promise<Scene> {
  const scene = await idle();
  const leave = new AbortController();
  const Local = z.object({ base_url: z.string(), api_key: z.string() });
  const local = Local.parse(JSON.parse((await runCommand(['local', '--json'], scene.home.folder)).stdout));
  const messages = [{ role: 'user', content: 'Hi' }];
  const { body } = await fetch(`${local.base_url}/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${local.api_key}` },
    body: JSON.stringify({ model: 'loop', stream: true, max_tokens: ANSWER_TOKENS, messages }),
    signal: leave.signal,
  });
  await body?.getReader().read();
  return {
    home: scene.home,
    [Symbol.asyncDispose]: async () => {
      leave.abort();
      await scene[Symbol.asyncDispose]();
    },
  };
}

async function gone(): Promise<Scene> {
  const temporary = newHome();
  const daemon = await started(temporary);
  await daemon.stop('SIGKILL');
  return { home: temporary.home, [Symbol.asyncDispose]: async () => temporary[Symbol.dispose]() };
}

/** Exit codes other than 0. A command with 75 and an object on stderr needs a daemon; `why` tells that it has none. */
const WITHOUT_DAEMON: Partial<Record<Name, number>> = {
  status: 75,
  why: 75,
  local: 1,
  'coordinator account list': 75,
  'coordinator keys list': 75,
  'coordinator machines list': 75,
  'coordinator registry list': 75,
};
/** They fail where what they ask is not there: a daemon, or books. */
const MAY_FAIL: readonly Name[] = NAMES.filter((name) => name === 'status' || name.startsWith('coordinator '));

describe.each([
  ['nothing installed', nothingInstalled, { ...WITHOUT_DAEMON, 'coordinator audit': 65 }],
  ['a daemon that is idle', idle, {}],
  ['a daemon that is busy', busy, {}],
  ['a daemon that was killed', gone, WITHOUT_DAEMON],
] as const)('with %s', (state, begin, codes: Partial<Record<Name, number>>) => {
  let scene: Scene;
  let home: Home;
  beforeAll(async () => {
    scene = await begin();
    ({ home } = scene);
  });
  afterAll(() => scene[Symbol.asyncDispose]());

  test('it is so', async () => {
    expect(existsSync(home.controlSocket)).toBe(state !== 'nothing installed');
    expect(existsSync(home.discovery)).toBe(state !== 'nothing installed');
    const { code, stdout } = await runCommand(['status', '--json'], home.folder);
    expect(code).toBe(codes.status ?? 0);
    if (code !== 0) return;
    const Running = z.object({ requests: z.object({ running: z.number() }) });
    expect(Running.parse(JSON.parse(stdout)).requests.running).toBe(state.endsWith('busy') ? 1 : 0);
  });

  test.concurrent.for(sampled(NAMES, state))('%s --json is as published', async (name, { expect }) => {
    const { code, stdout, stderr } = await runCommand(argumentsOf(name), home.folder, {
      ...COLOURFUL,
      DARKBLOOM_PROVIDER_HTTP_PORT: '0',
    });
    expect({ code, stderr: code === 0 ? stderr : '' }).toEqual({ code: codes[name] ?? 0, stderr: '' });
    expect(stdout + stderr).not.toMatch(/\x1b/u);
    const failed = code !== 0 && MAY_FAIL.includes(name);
    const lines = (failed ? stderr : stdout).split('\n');
    expect(lines.pop()).toBe('');
    expect(failed ? stdout : stderr).toBe('');
    if (name !== 'logs') expect(lines).toHaveLength(1);
    else expect(lines.length > 0).toBe(state !== 'nothing installed');
    for (const line of lines) expect(problemsWith(JSON.parse(line), failed ? 'error.json' : fileOf(name))).toEqual([]);
  });
});

describe('a failure with --json is one object on stderr', () => {
  const temporary = new TemporaryHome();
  const { folder, config } = temporary.home;
  afterAll(() => temporary[Symbol.dispose]());

  test.each<[string, string[], number, string]>([
    ['an option that is not known', ['status', '--nonsense', '--json'], 64, 'usage'],
    ['a command that is not known', ['nonsense', '--json'], 64, 'usage'],
    ['an argument that is missing', ['config', 'get', '--json'], 64, 'usage'],
    ['a value that is wrong', ['models', 'plan', '--as', 'Pentium', '--json'], 64, 'usage'],
    ['options that do not go together', ['uninstall', '--json'], 64, 'usage'],
    ['settings that are broken', ['models', 'list', '--json'], 65, 'config_invalid'],
  ])('%s', async (_, args, exitCode, code) => {
    writeFileSync(config, exitCode === 65 ? '[http]\nport = "none"\n' : '');
    const ended = await runCommand(args, folder, COLOURFUL);
    expect(ended).toMatchObject({ code: exitCode, stdout: '' });
    const object: unknown = JSON.parse(ended.stderr);
    expect(problemsWith(object, 'error.json')).toEqual([]);
    expect(object).toMatchObject({ error: { code, exit_code: exitCode } });
  });
});

test('the published schemas refuse what is not as they say', () => {
  const finding = { schema_version: 1, cause: 'served', sentence: 'Nothing is wrong.' };
  expect(problemsWith(finding, 'why.json')).toEqual([]);
  for (const wrong of [{}, { ...finding, cause: 'other' }, { ...finding, more: 1 }, { ...finding, schema_version: 2 }])
    expect(problemsWith(wrong, 'why.json')).not.toEqual([]);
});

describe('views', () => {
  const NARROW = 60;
  const VIEWS = [['status'], ['why'], ['doctor'], ['models', 'list'], ['models', 'catalog'], ['models', 'plan']];
  let scene: Scene;
  beforeAll(async () => {
    scene = await idle();
    mkdirSync(join(scene.home.folder, 'logs'), { recursive: true });
  });
  afterAll(() => scene[Symbol.asyncDispose]());

  /** A path or an address stays whole: such a word may stand alone on a wider line. */
  function expectNarrow(text: string): void {
    const lines = text.split('\n').map((line) => stripVTControlCharacters(line).replace(/\r$/u, ''));
    expect(lines.length).toBeGreaterThan(1);
    const wide = lines.filter((line) => line.length > NARROW && line.trim().includes(' '));
    expect(wide).toEqual([]);
  }

  test.each(VIEWS)('%s %s is no wider than a narrow screen, without colours', async (...args) => {
    const env = { ...COLOURFUL, COLUMNS: String(NARROW), DARKBLOOM_PROVIDER_HTTP_PORT: '0' };
    const { code, stdout, stderr } = await runCommand(args, scene.home.folder, env);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).not.toMatch(/\x1b/u);
    expectNarrow(stdout);
  });

  test('in a pipe nothing of a table is left out', async () => {
    const { stdout } = await runCommand(['models', 'plan'], scene.home.folder);
    expect(stdout).toMatch(/weights \+ KV cache \+ compute \+ reserve/u);
  });

  const hasScript = process.platform === 'linux' && spawnSync('script', ['--version']).status === 0;
  test.skipIf(!hasScript)('on a terminal too, with colours unless NO_COLOR says otherwise', async () => {
    const onTerminal = async (env: Record<string, string>) => {
      const commands = ['status', 'models list', 'models catalog'].map((view) => `${PROGRAM} ${view}`);
      const line = [`stty cols ${NARROW}`, ...commands].join(' && ');
      await using terminal = new RunningCommand(['-qec', line, '/dev/null'], scene.home.folder, env, ['script']);
      expect(await terminal.ended()).toBe(0);
      return terminal.stdout;
    };
    const coloured = await onTerminal({ TERM: 'xterm' });
    expectNarrow(coloured);
    expect(coloured).toMatch(/\x1b\[2m/u);
    const plain = await onTerminal({ TERM: 'xterm', NO_COLOR: '1' });
    expectNarrow(plain);
    expect(plain).not.toMatch(/\x1b/u);
  });
});

test.each([
  ['logs', '--json'],
  ['models', 'catalog'],
])('a reader that has seen enough of %s %s is no error', async (...args) => {
  using temporary = new TemporaryHome();
  const { folder } = temporary.home;
  mkdirSync(join(folder, 'logs'));
  const line = JSON.stringify({ level: 30, time: '2026-11-22T10:00:00.000Z', msg: 'x'.repeat(200) });
  writeFileSync(join(folder, 'logs/service.log'), `${line}\n`.repeat(5_000));
  const pipe = 'set -o pipefail; "$0" "$@" | head -1';
  await using ended = new RunningCommand(args, folder, {}, ['bash', '-c', pipe, PROGRAM]);
  expect(await ended.ended()).toBe(0);
  expect(ended.stderr).toBe('');
  expect(ended.stdout.split('\n')).toHaveLength(2);
});
