import { readFileSync, writeFileSync } from 'node:fs';
import { expect } from 'vitest';
import { readFileIfPresent } from '../../src/util/files.js';
import { runCommand, RunningCommand } from '../support/command.js';
import { linkHome } from '../support/linking.js';
import { RunningDaemon } from '../support/running-daemon.js';
import { TemporaryHome } from '../support/temporary-home.js';
import { costly } from '../support/costly.js';

costly('unlink revokes the token at the coordinator, deletes it here, and keeps the other settings', async () => {
  await using coordinator = await RunningDaemon.start();
  using temporary = new TemporaryHome();
  const { folder, config, linkToken } = temporary.home;
  await linkHome(temporary.home, {
    coordinatorUrl: coordinator.url,
    ownerToken: coordinator.ownerToken,
    address: coordinator.url,
  });
  writeFileSync(config, `# mine\n[coordinator]\nurl = "${coordinator.url}"\nport = 9001\n`);
  const token = readFileSync(linkToken, 'utf8').split('\n')[0] ?? '';
  expect((await coordinator.call('GET', '/v1/models', { token })).status).toBe(200);

  expect(await runCommand(['unlink'], folder)).toMatchObject({ code: 0, stderr: '' });
  expect((await coordinator.call('GET', '/v1/models', { token })).status).toBe(401);
  expect(readFileIfPresent(linkToken)).toBeUndefined();
  expect(readFileSync(config, 'utf8')).toBe('# mine\n[coordinator]\nport = 9001\n');
  expect((await runCommand(['unlink'], folder)).code).toBe(64);
});

costly('unlink works also when the coordinator is gone, and says that it did not hear of it', async () => {
  using temporary = new TemporaryHome();
  const { folder, config } = temporary.home;
  writeFileSync(config, '[coordinator]\nurl = "http://127.0.0.1:9"\n');
  const ended = await runCommand(['unlink'], folder);
  expect(ended.code).toBe(0);
  expect(ended.stdout).toMatch(/did not take the token back/u);
  expect(readFileSync(config, 'utf8')).not.toContain('url');
});

costly('link and unlink change the settings as `config set` does, whatever way they are written', async () => {
  await using coordinator = await RunningDaemon.start();
  using temporary = new TemporaryHome();
  const { folder, config } = temporary.home;
  writeFileSync(config, 'coordinator.port = 9001\nlog.level = "warn"\n');
  await using link = new RunningCommand(['link', coordinator.url], folder);
  const [, code = ''] = await link.says(/Code: (\S+)/u);
  const token = coordinator.ownerToken;
  expect(await coordinator.call('POST', '/v1/device/approve', { token, body: { user_code: code } })).toMatchObject({
    status: 200,
  });
  expect(await link.ended()).toBe(0);
  expect(readFileSync(config, 'utf8')).toBe(
    `coordinator.port = 9001\ncoordinator.url = "${coordinator.url}"\nlog.level = "warn"\n`,
  );
  expect(await runCommand(['unlink'], folder)).toMatchObject({ code: 0, stderr: '' });
  expect(readFileSync(config, 'utf8')).toBe('coordinator.port = 9001\nlog.level = "warn"\n');
});

costly('link says before the login that it cannot change an inline table, and changes nothing', async () => {
  await using coordinator = await RunningDaemon.start();
  using temporary = new TemporaryHome();
  const { folder, config, linkToken } = temporary.home;
  writeFileSync(config, '# mine\ncoordinator = { port = 9001 }\n');
  const ended = await runCommand(['link', coordinator.url], folder);
  expect(ended).toMatchObject({ code: 65, stdout: '' });
  expect(ended.stderr).toContain(`${config}, line 2: coordinator.url cannot be changed by a command`);
  expect(readFileSync(config, 'utf8')).toBe('# mine\ncoordinator = { port = 9001 }\n');
  expect(readFileIfPresent(linkToken)).toBeUndefined();
});
