import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { askStatus, askStatusIfRunning } from '../../src/cli/control-client.js';
import type { Home } from '../../src/config.js';
import { costly } from '../support/costly.js';
import { eventually } from '../support/eventually.js';
import { runCommand, RunningCommand } from '../support/command.js';
import { TemporaryHome } from '../support/temporary-home.js';

/** When the socket was made. */
function socketMadeAt({ controlSocket }: Home): number {
  return statSync(controlSocket).ctimeMs;
}

/** What launchd sets in the processes of our agent. */
const AS_AGENT = { XPC_SERVICE_NAME: 'io.darkbloom.provider-node' };

test('as a service, what the owner must mend blocks and says why, and when it is mended the service serves', async () => {
  using temporary = new TemporaryHome();
  const { folder, config } = temporary.home;
  writeFileSync(config, '[http]\nport = "none"\n');
  await using service = new RunningCommand(['start', '--foreground'], folder, AS_AGENT);
  await service.says(/darkbloom-provider \d+\.\d+\.\d+, process \d+/u);

  await expect
    .poll(async () => (await runCommand(['status'], folder)).stdout, { timeout: 20_000 })
    .toMatch(/^state +blocked/u);
  const blocked = await runCommand(['status', '--json'], folder);
  expect(JSON.parse(blocked.stdout)).toMatchObject({ state: 'blocked', reason: { code: 'config_invalid' } });
  expect((await runCommand(['pause'], folder)).code).toBe(65);

  writeFileSync(config, '[http]\nport = 0\n');
  await expect
    .poll(async () => (await runCommand(['status'], folder)).stdout, { timeout: 20_000 })
    .toMatch(/^state +serving/u);
  expect(await service.stop()).toBe(0); // launchd starts it again only after a failure

  const log = readFileSync(join(folder, 'logs/service.log'), 'utf8');
  expect(log).toMatch(/"blocked".*"link online"/su);
  const shown = await runCommand(['logs', '--level', 'error'], folder);
  expect(shown.stdout).toMatch(/error blocked .*config_invalid/u);
});

costly(
  'a service that stays blocked tries again and can be asked all the while; its log has each reason once',
  async () => {
    using temporary = new TemporaryHome();
    const { folder, config } = temporary.home;
    writeFileSync(config, '[http]\nport = "none"\n');
    await using service = new RunningCommand(['start', '--foreground'], folder, AS_AGENT);
    const first = await eventually('it is blocked', () => askStatusIfRunning(temporary.home));
    const madeAt = socketMadeAt(temporary.home);
    writeFileSync(config, '[http]\nhost = 1\n');
    const reasonNow = async () => {
      const status = await askStatus(temporary.home);
      if (status.state !== 'blocked') throw new Error(`It is ${status.state}.`);
      const { reason, ...rest } = status;
      expect(first).toMatchObject(rest);
      return reason.message;
    };
    await expect.poll(reasonNow, { timeout: 20_000, interval: 20 }).toContain('http.host');
    expect(socketMadeAt(temporary.home)).toBe(madeAt);

    writeFileSync(config, '[http]\nport = 0\n');
    const served = async () => (await askStatus(temporary.home)).state;
    await expect.poll(served, { timeout: 20_000, interval: 20 }).toBe('serving');
    expect(socketMadeAt(temporary.home)).toBe(madeAt); // the daemon has taken it over
    expect(await service.stop()).toBe(0);
    const log = readFileSync(join(folder, 'logs/service.log'), 'utf8');
    expect(log.match(/"blocked"/gu)).toHaveLength(2);
  },
);
