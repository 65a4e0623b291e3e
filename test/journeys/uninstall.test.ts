import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { homeAt } from '../../src/config.js';
import { writeDiscovery } from '../../src/service/discovery.js';
import { VERSION } from '../../src/util/version.js';
import { runCommand, RunningCommand } from '../support/command.js';
import { TemporaryHome } from '../support/temporary-home.js';
import { costly } from '../support/costly.js';

costly('uninstall lists what it removes, refuses while a daemon runs, and leaves nothing', async () => {
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
  // as after a loss of power, when the process id belongs to another program by now
  const { discovery } = homeAt(folder);
  const record = { base_url: 'http://127.0.0.1:9/v1', api_key: 'of an old run', host: '127.0.0.1', port: 9 };
  const updated_at = new Date().toISOString();
  writeDiscovery(discovery, { ...record, pid: process.pid, version: VERSION, mode: 'local', updated_at });
  expect(await run('local', '--json')).toMatchObject({ code: 1, stdout: '{}\n' });
  expect(await run('local')).toMatchObject({ code: 75, stderr: expect.stringMatching(/No daemon runs/u) });

  writeFileSync(`${discovery}.0123456789ab.tmp`, ''); // of a process that was killed while it wrote
  const dry = await run('uninstall', '--dry-run');
  expect(dry).toMatchObject({ code: 0, stderr: '' });
  expect(dry.stdout).toMatch(/balance of owner: 2\.500000 USD/u);
  expect(dry.stdout).toMatch(/keys: the API key/u);
  expect(dry.stdout).toContain(folder);
  expect(existsSync(folder)).toBe(true);
  expect(await run('uninstall')).toMatchObject({ code: 64, stderr: expect.stringMatching(/--yes/u) });

  expect(await run('uninstall', '--yes')).toMatchObject({ code: 0 });
  expect(readdirSync(userHome)).toEqual(before);
  expect((await run('uninstall', '--yes')).stdout).toMatch(/nothing of this program/u);
});
