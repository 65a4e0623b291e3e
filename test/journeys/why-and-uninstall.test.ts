import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { saveLinkToken } from '../../src/link/link-token.js';
import { runCommand, RunningCommand } from '../support/command.js';
import { RunningDaemon } from '../support/running-daemon.js';
import { TemporaryHome } from '../support/temporary-home.js';

test('why sends a real request through the whole path when nothing else is wrong', async () => {
  using temporary = new TemporaryHome();
  const { folder } = temporary.home;
  expect(await runCommand(['why'], folder)).toMatchObject({
    code: 75,
    stdout: expect.stringMatching(/^No daemon runs/u),
  });
  await using daemon = new RunningCommand(['start', '--foreground', '--port', '0'], folder);
  await daemon.says(/Ready/u);
  const served = await runCommand(['why'], folder);
  expect(served).toMatchObject({ code: 0, stdout: expect.stringMatching(/^Nothing is wrong: .*darkbloom-tiny-chat/u) });
  await runCommand(['pause'], folder);
  const paused = await runCommand(['why', '--json'], folder);
  expect(paused.code).toBe(75);
  expect(JSON.parse(paused.stdout)).toMatchObject({ schema_version: 1, cause: 'paused' });
});

test('why finds a link token that the coordinator does not know, and a coordinator that is not there', async () => {
  await using coordinator = await RunningDaemon.start();
  using temporary = new TemporaryHome();
  const { folder, config, linkToken } = temporary.home;
  writeFileSync(config, `[coordinator]\nurl = "${coordinator.url}"\n`);
  saveLinkToken(linkToken, coordinator.url, 'eigeninference-pt-nobody-knows');
  await using provider = new RunningCommand(['start', '--foreground', '--port', '0'], folder);
  await provider.says(/Ready/u);
  await provider.says(/link online/u);
  const stranger = await runCommand(['why', '--json'], folder);
  expect(JSON.parse(stranger.stdout)).toMatchObject({ cause: 'wrong_link_token' });

  await coordinator.daemon.close();
  await provider.says(/link lost/u);
  const alone = await runCommand(['why', '--json'], folder);
  expect(JSON.parse(alone.stdout)).toMatchObject({ cause: 'coordinator_unreachable' });
});

test('uninstall lists what it removes, refuses while a daemon runs, and leaves nothing', async () => {
  using temporary = new TemporaryHome();
  const userHome = temporary.home.folder;
  const folder = join(userHome, 'node');
  const env = { HOME: userHome, DARKBLOOM_PROVIDER_HOME: folder };
  const run = (...args: string[]) => runCommand(args, userHome, env);
  const before = readdirSync(userHome);
  {
    await using daemon = new RunningCommand(['start', '--foreground', '--port', '0'], userHome, env);
    await daemon.says(/Ready/u);
    await run('why'); // a request, and a model loaded for it
    await run('coordinator', 'credit', 'owner', '2.5');
    expect(await run('uninstall', '--yes')).toMatchObject({
      code: 65,
      stderr: expect.stringMatching(/A daemon runs/u),
    });
    expect(await run('stop')).toMatchObject({ code: 0, stderr: '' });
  }
  const dry = await run('uninstall', '--dry-run');
  expect(dry).toMatchObject({ code: 0, stderr: '' });
  expect(dry.stdout).toMatch(/balance of owner: 2\.500000 USD/u);
  expect(dry.stdout).toMatch(/keys: 1 API keys/u);
  expect(dry.stdout).toContain(folder);
  expect(existsSync(folder)).toBe(true);
  expect(await run('uninstall')).toMatchObject({ code: 64, stderr: expect.stringMatching(/--yes/u) });

  expect(await run('uninstall', '--yes')).toMatchObject({ code: 0 });
  expect(readdirSync(userHome)).toEqual(before);
  expect((await run('uninstall', '--yes')).stdout).toMatch(/nothing of this program/u);
});
