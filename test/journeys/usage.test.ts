import { existsSync, statSync, writeFileSync } from 'node:fs';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { UsageOutput } from '../../src/cli/commands/usage.js';
import type { Home } from '../../src/config.js';
import { readDiscovery } from '../../src/service/discovery.js';
import { MAX_DAYS } from '../../src/service/usage-rows.js';
import { RunningCommand, runCommand } from '../support/command.js';
import { sayModel } from '../support/made-models.js';
import { RunningDaemon } from '../support/running-daemon.js';
import { TemporaryHome } from '../support/temporary-home.js';
import { costly } from '../support/costly.js';

/** A dozen processes, each of which loads the program, on a machine that does other things beside. */
const COMMANDS_TIMEOUT_MS = 180_000;

let temporary: TemporaryHome;
let home: Home;
beforeEach(() => {
  temporary = new TemporaryHome();
  home = temporary.home;
  writeFileSync(home.config, `[models.files]\nsay = "${sayModel()}"\n`);
});
afterEach(() => temporary[Symbol.dispose]());

async function usage(...args: string[]) {
  const { code, stdout, stderr } = await runCommand(['usage', '--json', ...args], home.folder);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  return UsageOutput.parse(JSON.parse(stdout));
}

/** An answer as the client sees it. */
async function ask(path: 'chat/completions' | 'messages', content = 'Hi') {
  const record = readDiscovery(home.discovery);
  const response = await fetch(`${record?.base_url ?? ''}/${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${record?.api_key ?? ''}` },
    body: JSON.stringify({ model: 'local/say-f16', max_tokens: 50, messages: [{ role: 'user', content }] }),
  });
  return (await response.json()) as { usage?: Record<string, number> };
}

async function started(env: Record<string, string> = {}): Promise<RunningCommand> {
  const daemon = new RunningCommand(['start', '--foreground', '--port', '0'], home.folder, env);
  await daemon.says(/Ready/u);
  return daemon;
}

test(
  'counts are true while the daemon runs, the same after its stop, and go on after a restart',
  async () => {
    const first = await started();
    const chat = (await ask('chat/completions')).usage ?? {};
    const messages = (await ask('messages')).usage ?? {};
    await ask('chat/completions', 'far too long '.repeat(5_000)); // taken up, and refused by the model
    const expected = {
      requests: 3,
      completed: 2,
      cancelled: 0,
      failed: 1,
      prompt_tokens: (chat['prompt_tokens'] ?? NaN) + (messages['input_tokens'] ?? NaN),
      completion_tokens: (chat['completion_tokens'] ?? NaN) + (messages['output_tokens'] ?? NaN),
    };
    const running = await usage('--by', 'model');
    expect(running).toMatchObject({ source: 'daemon', grouped_by: 'model', total: expected });
    expect(running.rows).toMatchObject([{ model: 'say', for: 'own', ...expected }]);
    expect(await first.stop()).toBe(0);

    expect(statSync(home.usage).mode & 0o777).toBe(0o600);
    expect(await usage('--by', 'model')).toEqual({ ...running, source: 'file' });
    const text = await runCommand(['usage'], home.folder);
    expect(text.stdout).toMatch(/^day +model +for +requests +unfinished +tokens in +tokens out\n\S+ +say +you +3 +1 /u);
    expect(text.stdout.replaceAll('\n', ' ')).toMatch(
      /0 cancelled, 1 failed.*No daemon serves in this home: as written/u,
    );
    const csv = await runCommand(['usage', '--by', 'model', '--csv'], home.folder);
    expect(csv.stdout).toMatch(/^model,for,requests,[a-z_,]+\r\nsay,own,3,2,0,1,\d+,\d+\r\n$/u);

    const second = await started();
    await ask('chat/completions');
    expect((await usage()).total).toMatchObject({ requests: 4, completed: 3, failed: 1 });
    expect(await second.stop()).toBe(0);
    const none = await usage('--since', '2999-01-01', '--by', 'day');
    expect(none).toMatchObject({ since: '2999-01-01', grouped_by: 'day', rows: [], total: { requests: 0 } });
  },
  COMMANDS_TIMEOUT_MS,
);

costly('requests of another account, answered here because the owner allows it, are others’', async () => {
  await using daemon = await RunningDaemon.start({ 'provider.serve_others': true });
  const ask = (token: string, route: string) =>
    daemon.call('POST', '/v1/chat/completions', {
      token,
      headers: { 'x-darkbloom-route': route },
      body: { model: 'darkbloom-tiny-chat', max_tokens: 4, messages: [{ role: 'user', content: 'Hi' }] },
    });
  const guest = await daemon.addAccount({ usd: 5, acceptUnattested: true });
  expect(await ask(guest.key, 'none')).toMatchObject({ status: 200 });
  expect(await ask(daemon.ownerKey, 'self')).toMatchObject({ status: 200 });
  home = daemon.home;
  const { rows } = await usage('--by', 'model');
  expect(rows).toMatchObject([
    { for: 'others', completed: 1 },
    { for: 'own', completed: 1 },
  ]);
});

costly('without a journal it says what that means; one that is damaged is an error and stays as it is', async () => {
  const empty = await runCommand(['usage'], home.folder);
  expect(empty).toMatchObject({ code: 0, stderr: '' });
  expect(empty.stdout.replaceAll('\n', ' ')).toMatch(/^No request was counted in this home yet\..*no journal yet/u);
  expect(await usage()).toMatchObject({ source: 'file', rows: [] });
  expect(existsSync(home.usage)).toBe(false);

  writeFileSync(home.usage, 'damaged');
  const damaged = await runCommand(['usage'], home.folder);
  expect(damaged).toMatchObject({ code: 65, stdout: '', stderr: expect.stringMatching(/usage\.json is damaged/u) });
  expect(existsSync(home.usageSetAside)).toBe(false);
});

test.each(['7', '0d', '2026-02-30'])('--since %s is refused with what to say', async (since) => {
  const refused = await runCommand(['usage', '--since', since], home.folder);
  expect(refused).toMatchObject({
    code: 64,
    stdout: '',
    stderr: expect.stringMatching(/7d, or a day like 2026-11-01/u),
  });
});

costly('--csv and --json exclude each other, and the help names the bound', async () => {
  expect(await runCommand(['usage', '--csv', '--json'], home.folder)).toMatchObject({ code: 64, stdout: '' });
  const help = await runCommand(['usage', '--help'], home.folder);
  expect(help.stdout).toContain(`newest ${MAX_DAYS} days`);
  expect(Math.max(...help.stdout.split('\n').map(({ length }) => length))).toBeLessThanOrEqual(81);
});
