import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { askStatusIfRunning } from '../../src/cli/control-client.js';
import type { Home } from '../../src/config.js';
import { costly } from '../support/costly.js';
import { eventually } from '../support/eventually.js';
import { runCommand, RunningCommand } from '../support/command.js';
import { TemporaryHome } from '../support/temporary-home.js';

/** The socket goes and comes with each try. */
async function triesAgain({ controlSocket }: Home): Promise<void> {
  const madeAt = () => statSync(controlSocket, { throwIfNoEntry: false })?.ctimeMs;
  const before = madeAt();
  await expect.poll(() => ![undefined, before].includes(madeAt()), { timeout: 20_000, interval: 20 }).toBe(true);
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

costly('a service that stays blocked tries again, says why once in its log, and since when it is up', async () => {
  using temporary = new TemporaryHome();
  const { folder, config } = temporary.home;
  writeFileSync(config, '[http]\nport = "none"\n');
  await using service = new RunningCommand(['start', '--foreground'], folder, AS_AGENT);
  const first = await eventually('it is blocked', () => askStatusIfRunning(temporary.home));
  await triesAgain(temporary.home);
  const again = await eventually('it is blocked again', () => askStatusIfRunning(temporary.home));
  expect(again).toEqual(first);
  expect(await service.stop()).toBe(0);
  const log = readFileSync(join(folder, 'logs/service.log'), 'utf8');
  expect(log.match(/"blocked"/gu)).toHaveLength(1);
});
