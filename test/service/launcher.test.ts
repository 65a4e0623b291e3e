import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { agentTemplate, renderAgentPlist } from '../../src/service/agent-plist.js';
import { launcherPath, launcherScript, stableNodePath, writeLauncher } from '../../src/service/launcher.js';
import { isUnsafeVariable } from '../../src/machine/posture.js';
import { PACKAGE_ROOT, VERSION } from '../../src/util/version.js';
import { readXmlPlist } from './xml-plist.js';

const run = promisify(execFile);

let folder: string;
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'darkbloom launcher-'))));
afterEach(() => rmSync(folder, { recursive: true }));

describe('the path of Node.js that is kept', () => {
  const cellar = '/opt/homebrew/Cellar/node/24.2.0/bin/node';
  const cellar22 = '/opt/homebrew/Cellar/node@22/22.11.0/bin/node';
  const intel = '/usr/local/Cellar/node/24.2.0/bin/node';
  const nvm = '/Users/ada/.nvm/versions/node/v22.1.0/bin/node';

  test.each([
    ['Homebrew', cellar, { '/opt/homebrew/opt/node/bin/node': cellar }, '/opt/homebrew/opt/node/bin/node'],
    [
      'Homebrew, a kept major version',
      cellar22,
      { '/opt/homebrew/opt/node/bin/node': cellar, '/opt/homebrew/opt/node@22/bin/node': cellar22 },
      '/opt/homebrew/opt/node@22/bin/node',
    ],
    ['Homebrew on Intel', intel, { '/usr/local/opt/node/bin/node': intel }, '/usr/local/opt/node/bin/node'],
    [
      'a link in /usr/local',
      '/usr/local/lib/n/node',
      { '/usr/local/bin/node': '/usr/local/lib/n/node' },
      '/usr/local/bin/node',
    ],
    [
      'the installer of nodejs.org',
      '/usr/local/bin/node',
      { '/usr/local/bin/node': '/usr/local/bin/node' },
      '/usr/local/bin/node',
    ],
    ['a link that leads elsewhere', cellar, { '/usr/local/bin/node': '/somewhere/node' }, cellar],
    ['nvm, even behind a link', nvm, { '/usr/local/bin/node': nvm }, nvm],
    ...[
      '/Users/ada/.volta/tools/image/node/22.1.0/bin/node',
      '/Users/ada/.asdf/installs/nodejs/22.1.0/bin/node',
      '/Users/ada/.local/share/fnm/node-versions/v22.1.0/installation/bin/node',
      '/Users/ada/Library/Application Support/fnm/node-versions/v22.1.0/installation/bin/node',
      '/Users/ada/.local/share/mise/installs/node/22.1.0/bin/node',
    ].map((node): [string, string, Record<string, string>, string] => [
      node,
      node,
      { '/usr/local/bin/node': node },
      node,
    ]),
    ['nothing known', '/opt/own/node', {}, '/opt/own/node'],
  ])('%s', (_what, node, links: Record<string, string>, kept) => {
    expect(stableNodePath(node, 22, (path) => links[path])).toBe(kept);
  });
});

const AgentList = z.object({
  ProgramArguments: z.tuple([z.string()]).rest(z.string()),
  EnvironmentVariables: z.record(z.string(), z.string()),
});

/** Starts what a property list names, with nothing but launchd's environment and the list's own. */
async function runAsLaunchd(xml: string, args: readonly string[]) {
  const { ProgramArguments, EnvironmentVariables } = AgentList.parse(readXmlPlist(xml));
  const env = { PATH: '/usr/bin:/bin:/usr/sbin:/sbin', XPC_SERVICE_NAME: 'x', ...EnvironmentVariables };
  return run(ProgramArguments[0], args, { cwd: '/', env });
}

function plistFor(homeFolder: string, node: string): string {
  return renderAgentPlist(agentTemplate(), {
    launcher: launcherPath(homeFolder),
    nodeFolder: dirname(node),
    homeFolder,
    userHome: folder,
    logFolder: folder,
    sessions: 'screen',
  });
}

describe('the launcher', () => {
  test('that launchd starts finds Node.js and the package', async () => {
    const home = join(folder, `it's a <home> & "more"`);
    mkdirSync(home);
    writeLauncher(home, process.execPath);
    expect(statSync(launcherPath(home)).mode & 0o777).toBe(0o755);
    const { stdout, stderr } = await runAsLaunchd(plistFor(home, process.execPath), ['--version']);
    expect([stdout, stderr]).toEqual([`${VERSION}\n`, '']);
  });

  test('is written anew over an older one', () => {
    const home = join(folder, 'home');
    writeLauncher(home, '/old/node');
    writeLauncher(home, '/new/node');
    const text = readFileSync(launcherPath(home), 'utf8');
    expect([text.includes('/new/node'), text.includes('/old/node')]).toEqual([true, false]);
  });

  /** Puts a launcher in place that starts a program of ours, which prints what it sees. */
  function place(facts: Partial<Parameters<typeof launcherScript>[0]>): string {
    const packageRoot = join(folder, 'package');
    mkdirSync(join(packageRoot, 'dist/cli'), { recursive: true });
    const program = 'console.log(JSON.stringify({ args: process.argv.slice(2), env: process.env }))';
    writeFileSync(join(packageRoot, 'dist/cli/main.js'), program);
    const path = join(folder, 'launcher');
    const script = launcherScript({
      node: process.execPath,
      homeFolder: folder,
      otherPlaces: [],
      packageRoot,
      ...facts,
    });
    writeFileSync(path, script, { mode: 0o755 });
    return path;
  }

  test('passes arguments on as they are and says which home it belongs to', async () => {
    const args = ['start', '--foreground', 'two words', `"'$HOME`, ''];
    const { stdout } = await run(place({}), args, { env: { DARKBLOOM_PROVIDER_HOME: '/other' } });
    expect(JSON.parse(stdout)).toMatchObject({ args, env: { DARKBLOOM_PROVIDER_HOME: folder } });
  });

  test('takes out of the environment what could bring foreign code in', async () => {
    const unsafe = ['NODE_OPTIONS', 'NODE_V8_COVERAGE', 'LD_LIBRARY_PATH', 'DYLD_INSERT_LIBRARIES', 'MallocScribble'];
    const env = { HOME: folder, ...Object.fromEntries(unsafe.map((name) => [name, ''])) };
    const { stdout } = await run(place({}), [], { env });
    const seen = z.object({ env: z.record(z.string(), z.string()) }).parse(JSON.parse(stdout)).env;
    expect(Object.keys(seen).filter(isUnsafeVariable)).toEqual([]);
    expect(seen['HOME']).toBe(folder);
  });

  test('looks elsewhere when Node.js is gone, and takes none that is too old or broken', async () => {
    const elsewhere = join(folder, 'my versions');
    for (const [name, version] of [
      ['v1', 'exit 1'],
      ['v2', 'exec /nonexistent'],
    ] as const) {
      mkdirSync(join(elsewhere, name), { recursive: true });
      writeFileSync(join(elsewhere, name, 'node'), `#!/bin/sh\n${version}\n`, { mode: 0o755 });
    }
    mkdirSync(join(elsewhere, 'v3'));
    symlinkSync(process.execPath, join(elsewhere, 'v3/node'));
    const path = place({ node: '/gone/node', otherPlaces: ['/gone/too', '"$HOME/my versions"/*/node'] });
    const { stdout } = await run(path, ['x'], { env: { HOME: folder } });
    expect(JSON.parse(stdout)).toMatchObject({ args: ['x'] });
  });

  test('finds Node.js by the folder that the property list adds to PATH', async () => {
    mkdirSync(join(folder, 'bin'));
    symlinkSync(process.execPath, join(folder, 'bin/node'));
    const path = place({ node: '/gone/node', otherPlaces: ['"$(command -v node)"'] });
    const { stdout } = await run(path, ['x'], { env: { PATH: `${join(folder, 'bin')}:/usr/bin` } });
    expect(JSON.parse(stdout)).toMatchObject({ args: ['x'] });
  });

  test.each([
    [
      'without Node.js',
      { node: '/gone/node' },
      /^darkbloom-provider: no Node\.js 20\.19 or later at \/gone\/node or elsewhere\. .*\n$/u,
    ],
    [
      'without the package',
      { packageRoot: '/gone' },
      /^darkbloom-provider: \/gone\/dist\/cli\/main\.js is gone\. .*\n$/u,
    ],
  ])('%s ends with one line that says so', async (_what, facts, line) => {
    const failing = run(place(facts), [], { env: { HOME: folder } });
    await expect(failing).rejects.toMatchObject({
      code: 65,
      stdout: '',
      stderr: expect.stringMatching(line) as string,
    });
  });

  test('of this package starts its own program', () => {
    writeLauncher(join(folder, 'home'), '/node');
    expect(readFileSync(launcherPath(join(folder, 'home')), 'utf8')).toContain(join(PACKAGE_ROOT, 'dist/cli/main.js'));
  });
});
