import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { uninstallPaths } from '../../src/cli/uninstall-paths.js';
import { homeAt } from '../../src/config.js';
import { logFolderOf } from '../../src/log.js';
import { Agent } from '../../src/service/agent.js';
import { ScriptedLaunchd, UID } from '../service/scripted-launchd.js';
import { RunningCommand } from '../support/command.js';
import { hostedModel, serve } from '../support/hosted-build.js';
import { ManualClock } from '../support/manual-clock.js';
import { sayModel } from '../support/made-models.js';
import { PackageCopy } from '../support/package-copy.js';
import { RangeServer } from '../support/range-server.js';
import { TemporaryHome } from '../support/temporary-home.js';
import { turned } from '../support/turned.js';
import { costly } from '../support/costly.js';

/** Every file beneath a folder, and every empty folder. */
function tree(folder: string): string[] {
  return readdirSync(folder).flatMap((name) => {
    const path = join(folder, name);
    if (!statSync(path).isDirectory()) return [path];
    const inside = tree(path);
    return inside.length === 0 ? [path] : inside;
  });
}

costly('uninstall removes exactly what first run, download, requests and the service have made', async () => {
  using temporary = new TemporaryHome();
  const userHome = temporary.home.folder;
  const home = homeAt(join(userHome, 'node'));
  const files = new Map([['story-f16.gguf', readFileSync(sayModel())]]);
  await using server = await RangeServer.listen();
  serve(server, files);
  using installed = new PackageCopy([hostedModel(files).model]);
  const env = { DARKBLOOM_PROVIDER_HOME: home.folder, DARKBLOOM_PROVIDER_MODELS_DOWNLOAD_FROM: server.url };
  const run = (args: readonly string[], more: Record<string, string> = {}) =>
    new RunningCommand(args, userHome, { ...env, ...more }, [installed.program]);
  const ended = async (...args: string[]) => {
    await using command = run(args);
    return { code: await command.ended(), stdout: command.stdout, stderr: command.stderr };
  };
  const before = tree(userHome);

  // first run with a download and a request
  await using first = run(['start', '--port', '0', '--model', 'story']);
  await first.says(/Ctrl-C stops/u);
  expect((await ended('why')).stdout).toMatch(/answered/u);
  expect(await first.stop()).toBe(0);
  // the service: its files by a scripted launchd, its process as launchd starts it
  const clock = new ManualClock();
  const agent = new Agent({
    commands: new ScriptedLaunchd(clock),
    clock,
    uid: UID,
    homeFolder: home.folder,
    userHome,
    logFolder: logFolderOf('linux', userHome, home.folder),
    node: process.execPath,
  });
  expect(await turned(clock, agent.start())).toMatchObject({ name: 'running' });
  await using service = run(['start', '--foreground'], {
    XPC_SERVICE_NAME: 'io.darkbloom.provider-node',
    DARKBLOOM_PROVIDER_HTTP_PORT: '0',
  });
  await expect.poll(async () => (await ended('status')).stdout, { timeout: 20_000 }).toMatch(/^state +serving/u);
  expect((await ended('usage')).code).toBe(0);
  const whileRunning = tree(userHome);
  expect(await service.stop()).toBe(0);

  const made = [...new Set([...whileRunning, ...tree(userHome)])].filter((path) => !before.includes(path));
  const listed = uninstallPaths(home, agent.files, false);
  const lies = (path: string, at: string) => path === at || path.startsWith(`${at}/`);
  expect(made.filter((path) => !listed.some((at) => lies(path, at)))).toEqual([]);
  const dry = await ended('uninstall', '--dry-run');
  const shown = [...dry.stdout.matchAll(/^ {2}(\/\S+)/gmu)].map(([, path = '']) => path);
  const now = tree(userHome);
  expect(shown.every((at) => now.some((path) => lies(path, at)))).toBe(true);
  const [plist = ''] = agent.files;
  expect(now.filter((path) => !before.includes(path) && !shown.some((at) => lies(path, at)))).toEqual([plist]);

  expect(await turned(clock, agent.uninstall())).toMatchObject({ name: 'removed' });
  expect(await ended('uninstall', '--yes')).toMatchObject({ code: 0 });
  expect(existsSync(home.folder)).toBe(false);
  expect(tree(userHome)).toEqual([...before, join(userHome, 'Library/LaunchAgents')]); // a folder of the system
});

costly('--keep-data keeps the home and what is in it', async () => {
  using temporary = new TemporaryHome();
  const userHome = temporary.home.folder;
  const home = homeAt(join(userHome, 'node'));
  const env = { DARKBLOOM_PROVIDER_HOME: home.folder };
  await using first = new RunningCommand(['start', '--port', '0'], userHome, env);
  await first.says(/Ctrl-C stops/u);
  expect(await first.stop()).toBe(0);
  const kept = tree(userHome).filter((path) => !path.startsWith(join(home.folder, 'logs')));
  await using removed = new RunningCommand(['uninstall', '--keep-data', '--yes'], userHome, env);
  expect(await removed.ended()).toBe(0);
  expect(tree(userHome)).toEqual(kept);
});
