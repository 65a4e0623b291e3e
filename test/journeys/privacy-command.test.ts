import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { PrivacyOutput } from '../../src/cli/commands/privacy.js';
import { homeEntries, type Home } from '../../src/config.js';
import { PrivacyCapabilities } from '../../src/protocol/provider-messages.js';
import { PACKAGE_ROOT } from '../../src/util/version.js';
import { RunningCommand, runCommand } from '../support/command.js';
import { FakeCoordinator } from '../support/fake-coordinator.js';
import { writeLink } from '../support/linking.js';
import { TemporaryHome } from '../support/temporary-home.js';

async function privacyOf({ folder }: Home): Promise<PrivacyOutput> {
  const { code, stdout, stderr } = await runCommand(['privacy', '--json'], folder);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  return PrivacyOutput.parse(JSON.parse(stdout));
}

/** The capabilities as the wire has them. */
const onTheWire = ({ capabilities }: PrivacyOutput) =>
  PrivacyCapabilities.parse(Object.fromEntries(capabilities.map(({ name, reported }) => [name, reported])));

test('without a daemon it tells what the settings mean, and names every place that the program may write to', async () => {
  using temporary = new TemporaryHome();
  const { home } = temporary;
  const told = await privacyOf(home);
  expect(told).toMatchObject({ source: 'settings', serve_others: false, host: '127.0.0.1' });
  expect(told).not.toHaveProperty('coordinator_url');
  expect(told.kept.map(({ path }) => path)).toEqual(expect.arrayContaining([home.folder, ...homeEntries(home)]));
  expect(told.kept.filter(({ present }) => present).map(({ path }) => path)).toEqual([home.folder]);
  expect(told.leaves.map(({ to }) => to).join(' ')).toMatch(/linked to this one.*https:\/\/huggingface\.co/u);
  expect(told.capabilities.map(({ name }) => name)).toEqual(Object.keys(PrivacyCapabilities.shape));
  const { stdout } = await runCommand(['privacy'], home.folder);
  const words = stdout.replaceAll(/\s+/gu, ' ');
  for (const sentence of [...told.prompts, ...told.not_prevented]) expect(words).toContain(sentence);
  expect(words).toContain('anti_debug_enabled no: ');
  expect(
    Math.max(
      ...stdout
        .replaceAll(home.folder, '')
        .split('\n')
        .map(({ length }) => length),
    ),
  ).toBeLessThanOrEqual(80);
});

test('with a daemon it tells what that one really reports and does, whatever the settings say', async () => {
  await using coordinator = await FakeCoordinator.listen();
  using temporary = new TemporaryHome();
  const { home } = temporary;
  writeLink(home, coordinator.url, 'eigeninference-pt-of-a-test');
  const args = ['start', '--foreground', '--port', '0', '--serve-others'];
  // past the launcher: its variables stay, and the daemon has to say so
  await using daemon = new RunningCommand(args, home.folder, { NODE_OPTIONS: '--no-warnings' }, [
    process.execPath,
    join(PACKAGE_ROOT, 'dist/cli/main.js'),
  ]);
  const { privacy_capabilities: registered } = await coordinator.received('register');
  await daemon.says(/Ready\./u);
  const told = await privacyOf(home);
  expect(told).toMatchObject({ source: 'daemon', serve_others: true, coordinator_url: coordinator.url });
  expect(onTheWire(told)).toEqual(registered);
  expect(registered?.env_scrubbed).toBe(false);
  expect(told.prompts.join(' ')).toMatch(
    /Whoever runs that coordinator can read them too.*readable, with some effort/u,
  );
  expect(told.leaves.filter(({ to }) => to === coordinator.url)).toHaveLength(5);
  expect(told.deletion.map(({ command }) => command)).toContain('darkbloom-provider unlink');

  const kept = new Map(told.kept.map((place) => [place.path, place]));
  for (const name of readdirSync(home.folder)) {
    const path = join(home.folder, name);
    const mode = `0${(statSync(path).mode & 0o777).toString(8)}`;
    expect(kept.get(path)).toMatchObject({ present: true, mode });
  }
});

test('what crosses a network without TLS is told: a port that is open to it, and a coordinator on it', async () => {
  using temporary = new TemporaryHome();
  const far = { DARKBLOOM_PROVIDER_COORDINATOR_URL: 'http://studio.local:8787' };
  const linked = await runCommand(['privacy'], temporary.home.folder, far);
  expect(linked.stdout.replaceAll(/\s+/gu, ' ')).toContain('http://studio.local:8787 has no TLS');
  const { stdout } = await runCommand(['privacy'], temporary.home.folder, { DARKBLOOM_PROVIDER_HTTP_HOST: '0.0.0.0' });
  expect(stdout.replaceAll(/\s+/gu, ' ')).toContain('bound to 0.0.0.0. There is no TLS');
});
