import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { runCommand, RunningCommand } from '../support/command.js';
import { loopModel } from '../support/made-models.js';
import { readDiscovery } from '../../src/service/discovery.js';
import { TemporaryHome } from '../support/temporary-home.js';
import { HAS_TMUX, Terminal } from '../support/terminal.js';

/** `status --watch` in a real terminal, while the daemon idles, works, is paused and is gone. */

let temporary: TemporaryHome;
let daemon: RunningCommand;
beforeAll(async () => {
  temporary = new TemporaryHome();
  daemon = new RunningCommand(['start', '--port', '0', '--no-model'], temporary.home.folder, {
    DARKBLOOM_PROVIDER_MODELS_FILES: `talker=${loopModel()}`,
  });
  await daemon.says(/Ctrl-C stops/u);
});
afterAll(async () => {
  await daemon[Symbol.asyncDispose]();
  temporary[Symbol.dispose]();
});

/** What differs from machine to machine and from moment to moment. */
function steady(screen: string): string {
  return screen
    .replace(/127\.0\.0\.1:\d+/gu, '127.0.0.1:PORT')
    .replace(/connected for .*/u, 'connected for N s')
    .replace(/(up +).*/u, '$1N s, process PID')
    .replace(/of \d+\.\d GiB/u, 'of N GiB')
    .replace(/\d+ served with \d+ tokens/u, 'N served with N tokens')
    .replace(/\d+ tokens\/s, last/u, 'N tokens/s, last')
    .replace(/,\s+unloads in \d+ min/gu, '')
    .replace(/, \d+ tokens\/s per request/gu, '')
    .replace(/(last \d+ s ).*/u, '$1BARS');
}

describe.skipIf(!HAS_TMUX).each([80, 120])('a terminal of %i columns', (columns) => {
  test('shows idle, busy and paused as they come, and gives the screen back', async () => {
    const { folder, discovery } = temporary.home;
    using terminal = new Terminal({ columns, rows: 24, home: folder });
    await terminal.run('status --watch');
    expect(steady(await terminal.shows(/0 running, 0 waiting;/u))).toMatchSnapshot();

    const record = readDiscovery(discovery);
    const stopped = new AbortController();
    const response = await fetch(`${record?.base_url ?? ''}/chat/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${record?.api_key ?? ''}`, 'content-type': 'application/json' },
      body: JSON.stringify({ model: 'talker', messages: [{ role: 'user', content: 'Hi' }], stream: true }),
      signal: stopped.signal,
    });
    expect(response.status).toBe(200);
    await terminal.shows(/talker: loaded/u);
    expect(steady(await terminal.shows(/1 running, 0 waiting;/u))).toMatchSnapshot();
    stopped.abort();
    await terminal.shows(/0 running, 0 waiting;/u);

    expect((await runCommand(['pause'], folder)).code).toBe(0);
    expect(steady(await terminal.shows(/paused/u))).toMatchSnapshot();
    expect((await runCommand(['resume'], folder)).code).toBe(0);
    await terminal.shows(/serving/u);

    terminal.keys('C-c');
    expect(await terminal.shows(/^\$/u)).not.toContain('Ctrl-C leaves');
  });
});

test.skipIf(!HAS_TMUX)('a daemon that is gone is said to be gone, and waited for', async () => {
  using empty = new TemporaryHome();
  using terminal = new Terminal({ columns: 80, rows: 24, home: empty.home.folder });
  await terminal.run('status --watch');
  expect(await terminal.shows(/Ctrl-C leaves/u)).toMatchSnapshot();
  await using late = new RunningCommand(['start', '--port', '0', '--no-model'], empty.home.folder);
  await terminal.shows(/serving/u);
  expect(await late.stop()).toBe(0);
});
