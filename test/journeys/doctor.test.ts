import { writeFileSync } from 'node:fs';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { createServer as createNetServer, type AddressInfo } from 'node:net';
import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { runChecks } from '../../src/cli/doctor.js';
import type { Home } from '../../src/config.js';
import { gte } from '../../src/util/versions.js';
import { readDiscovery, writeDiscovery } from '../../src/service/discovery.js';
import { VERSION } from '../../src/util/version.js';
import { runCommand, RunningCommand } from '../support/command.js';
import { TemporaryHome } from '../support/temporary-home.js';

const Report = z.object({
  schema_version: z.literal(1),
  checks: z.array(
    z.object({
      name: z.string(),
      verdict: z.enum(['good', 'warning', 'bad']),
      detail: z.string(),
      fix: z.string().optional(),
    }),
  ),
});

test('doctor loads a model and lets it write a token, and finds a new home in order', async () => {
  using temporary = new TemporaryHome();
  const ended = await runCommand(['doctor', '--json'], temporary.home.folder, { DARKBLOOM_PROVIDER_HTTP_PORT: '0' });
  expect(ended).toMatchObject({ code: 0, stderr: '' });
  const { checks } = Report.parse(JSON.parse(ended.stdout));
  expect(checks.find(({ name }) => name === 'a token')?.detail).toMatch(/darkbloom-tiny-chat loaded and wrote one/u);
  expect(checks.filter(({ verdict }) => verdict === 'bad')).toEqual([]);
});

test('doctor names a model file that is not there, with what to do, and fails', async () => {
  using temporary = new TemporaryHome();
  writeFileSync(temporary.home.config, '[models.files]\nmine = "/nowhere.gguf"\n');
  const ended = await runCommand(['doctor'], temporary.home.folder);
  expect(ended.code).toBe(65);
  expect(ended.stdout).toMatch(
    /✗ models +models\.files\.[\w-]+: The model file \/nowhere\.gguf cannot be used: there is no such file\. Replace/u,
  );
});

describe('the port', () => {
  /** What doctor says of it. */
  async function portCheck(home: Home, port: number) {
    writeFileSync(home.config, `[http]\nport = ${port}\n`);
    const [check] = await runChecks(home, () => undefined, ['port']);
    return check;
  }

  test.each([
    [
      'another program',
      () =>
        createNetServer((socket) =>
          socket
            .on('error', () => undefined)
            .resume()
            .end('no HTTP'),
        ),
    ],
    ['another web server', () => createServer((_, response) => response.end('{"status":"ok"}'))],
  ])('that %s has is not taken for ours because the process id of an old record lives', async (_, open) => {
    using temporary = new TemporaryHome();
    const server = open().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    writeDiscovery(temporary.home.discovery, {
      base_url: `http://127.0.0.1:${port}/v1`,
      api_key: 'of an old run',
      host: '127.0.0.1',
      port,
      pid: process.pid,
      version: VERSION,
      mode: 'local',
      updated_at: new Date().toISOString(),
    });
    expect(await portCheck(temporary.home, port)).toMatchObject({
      verdict: 'bad',
      detail: `${port} of 127.0.0.1 is in use`,
    });
    server.close();
  });

  test.each([
    ['daemon', ['start', '--foreground', '--port', '0']],
    ['coordinator', ['coordinator', '--port', '0']],
  ])('that our %s has is good', async (_, args) => {
    using temporary = new TemporaryHome();
    const { folder, discovery } = temporary.home;
    await using running = new RunningCommand(args, folder);
    await running.says(/Ctrl-C/u);
    const port = readDiscovery(discovery)?.port ?? 0;
    expect(await portCheck(temporary.home, port)).toMatchObject({
      verdict: 'good',
      detail: expect.stringContaining(`a daemon answers on http://127.0.0.1:${port}`),
    });
    await running.stop();
  });
});

test.each([
  ['20.19.0', '20.19.0', true],
  ['20.9.0', '20.19.0', false],
  ['22.0.0', '20.19.0', true],
  ['20.20.2', '20.19.0', true],
  ['18.99.99', '20.19.0', false],
])('%s against %s is %s', (version, least, expected) => {
  expect(gte(version, least)).toBe(expected);
});
