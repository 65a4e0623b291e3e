import { writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { expect, test } from 'vitest';
import { lostVariables, vanishingPlace } from '../../src/cli/install-warnings.js';
import { environment, fileValues } from '../../src/config.js';
import { readFileIfPresent } from '../../src/util/files.js';
import { PROGRAM, RunningCommand } from '../support/command.js';
import { TemporaryHome } from '../support/temporary-home.js';

const ENV = {
  PATH: '/usr/bin',
  DARKBLOOM_PROVIDER_HTTP_PORT: '9000',
  DARKBLOOM_PROVIDER_HTTP_HOST: '127.0.0.1',
  DARKBLOOM_PROVIDER_COORDINATOR_URL: 'http://studio.local:8787/',
  DARKBLOOM_PROVIDER_MODELS_FILES: "own=/models/it's mine.gguf,other=/b.gguf",
};

test('variables of the shell that the service will not have are named, with commands that make them lasting', async () => {
  using temporary = new TemporaryHome();
  const { home } = temporary;
  const warnings = lostVariables(home, { ...ENV, DARKBLOOM_PROVIDER_HOME: home.folder });
  expect(warnings.map((warning) => /^\S+/u.exec(warning)?.[0])).toEqual([
    'DARKBLOOM_PROVIDER_HTTP_PORT',
    'DARKBLOOM_PROVIDER_COORDINATOR_URL',
    'DARKBLOOM_PROVIDER_MODELS_FILES',
  ]); // the host is what the service has anyway, and the launcher carries the home
  expect(warnings[0]).toMatch(/does not reach the background service.*config set http\.port 9000$/u);

  const commands = warnings.flatMap((warning) => warning.split('lasting: ')[1]?.split(' and ') ?? []);
  const PATH = `${dirname(PROGRAM)}:${environment['PATH'] ?? ''}`;
  for (const command of commands) {
    await using shell = new RunningCommand([], home.folder, { PATH }, ['/bin/sh', '-c', command]);
    expect([await shell.ended(), shell.stderr]).toEqual([0, '']);
  }
  expect(fileValues(readFileIfPresent(home.config) ?? '', home.config)).toMatchObject({
    'http.port': 9000,
    'coordinator.url': 'http://studio.local:8787',
    'models.files': { own: "/models/it's mine.gguf", other: '/b.gguf' },
  });
  expect(lostVariables(home, ENV)).toEqual([]);
});

test('a setting of the file that a variable overrides in this shell is named too', () => {
  using temporary = new TemporaryHome();
  writeFileSync(temporary.home.config, '[http]\nport = 8001\n');
  expect(lostVariables(temporary.home, { DARKBLOOM_PROVIDER_HTTP_PORT: '8001' })).toEqual([]);
  expect(lostVariables(temporary.home, { DARKBLOOM_PROVIDER_HTTP_PORT: '8002' })).toHaveLength(1);
});

test.each([
  ['/Users/me/.npm/_npx/0a1b2c/node_modules/darkbloom-provider', /cache of npx/u],
  ['/Users/me/Library/Caches/pnpm/dlx/x/node_modules/darkbloom-provider', /a cache/u],
  ['/home/me/.cache/pnpm/dlx/x/node_modules/darkbloom-provider', /a cache/u],
  ['/Users/me/.Trash/darkbloom-provider', /the trash/u],
  ['/Volumes/Stick/darkbloom-provider', /another disk/u],
  ['/private/var/folders/a/b/T/clone', /temporary folder/u],
  ['/scratch/clone', /temporary folder/u],
])('a program in %s may vanish, and that is said', (root, where) => {
  const [warning, ...more] = vanishingPlace(root, '/scratch');
  expect(warning).toMatch(where);
  expect(warning).toContain(root);
  expect(warning).toMatch(/npm install --global/u);
  expect(more).toEqual([]);
});

test.each([
  '/opt/homebrew/lib/node_modules/darkbloom-provider',
  '/usr/local/lib/node_modules/darkbloom-provider',
  '/Users/me/.nvm/versions/node/v22.1.0/lib/node_modules/darkbloom-provider',
  '/Users/me/src/darkbloom-provider',
])('one in %s stays', (root) => {
  expect(vanishingPlace(root, '/scratch')).toEqual([]);
});
