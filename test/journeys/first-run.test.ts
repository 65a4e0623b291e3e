import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { saveLinkToken } from '../../src/link/link-token.js';
import { RunningCommand } from '../support/command.js';
import { eventually } from '../support/eventually.js';
import { hostedModel, serve } from '../support/hosted-build.js';
import { sayModel } from '../support/made-models.js';
import { PackageCopy } from '../support/package-copy.js';
import { RangeServer } from '../support/range-server.js';
import { TemporaryHome } from '../support/temporary-home.js';
import { HAS_TMUX, Terminal } from '../support/terminal.js';
import { costly } from '../support/costly.js';

/** Bare `start` on a machine without settings: at a terminal it asks, elsewhere it says what it takes. */

/** The largest models of the catalogue do not fit, on whatever machine the test runs. */
const LIMIT = { DARKBLOOM_PROVIDER_ENGINE_MEMORY_LIMIT_GB: '8' };

let server: RangeServer;
let installed: PackageCopy;
beforeAll(async () => {
  const files = new Map([['story-f16.gguf', readFileSync(sayModel())]]);
  server = await RangeServer.listen();
  serve(server, files);
  installed = new PackageCopy([hostedModel(files).model]);
});
afterAll(async () => {
  installed[Symbol.dispose]();
  await server[Symbol.asyncDispose]();
});

const here = () => ({ DARKBLOOM_PROVIDER_MODELS_DOWNLOAD_FROM: server.url, ...LIMIT });

/** What differs from machine to machine and from run to run. */
function steady(screen: string): string {
  return screen
    .replace(/(machine +).*/u, '$1CHIP, MEMORY, DISK')
    .replace(/127\.0\.0\.1:\d+/gu, '127.0.0.1:PORT')
    .replace(/sk-db-[\da-f]+(\n[\da-f]+)?/gu, 'KEY')
    .replace(/after \d+\.\d s/u, 'after N s')
    .replace(/(home +).*/u, '$1HOME')
    .replace(/^.*clear; .*\n/u, '')
    .replace(/^.*(?:█|░).*\n/gmu, '')
    .replace(/^\[\d\d:.*(\n.*[}"]$)?\n/gmu, '');
}

describe.skipIf(!HAS_TMUX).each([80, 120])('a terminal of %i columns', (columns) => {
  test('the catalogue is proposed with its sums; leaving changes nothing', async () => {
    using temporary = new TemporaryHome();
    using terminal = new Terminal({ columns, rows: 40, home: temporary.home.folder, env: LIMIT });
    await terminal.run('start --port 0');
    expect(steady(await terminal.shows(/Enter: confirm/u))).toMatchSnapshot();
    terminal.keys('C-c');
    await terminal.shows(/Nothing was changed/u);
    expect(existsSync(temporary.home.config)).toBe(false);
  });

  test('a model is fetched, served, asked, and named with base URL and key', async () => {
    using temporary = new TemporaryHome();
    const home = temporary.home.folder;
    using terminal = new Terminal({ columns, rows: 50, home, env: here(), program: installed.program });
    await terminal.run('start --port 0');
    await terminal.shows(/story F16/u);
    terminal.keys('Enter');
    await terminal.shows(/Keep it loaded/u);
    terminal.keys('y');
    expect(steady(await terminal.shows(/Ctrl-C stops/u))).toMatchSnapshot();
    expect(readFileSync(temporary.home.config, 'utf8')).toContain('keep_loaded = ["story"]');
    terminal.keys('C-c');
    await terminal.shows(/Stopped\./u);
    await terminal.run('start --port 0');
    const again = await terminal.shows(/Ctrl-C stops/u);
    expect(again).not.toContain('setting up');
    terminal.keys('C-c');
    await terminal.shows(/Stopped\./u);
  });
});

test.skipIf(!HAS_TMUX)('a machine that was only linked is set up all the same, and keeps its link', async () => {
  using temporary = new TemporaryHome();
  const { folder, config, linkToken } = temporary.home;
  saveLinkToken(linkToken, 'http://127.0.0.1:9', 'a-token-of-nobody');
  writeFileSync(config, '[coordinator]\nurl = "http://127.0.0.1:9"\n');
  using terminal = new Terminal({ columns: 80, rows: 50, home: folder, env: here(), program: installed.program });
  await terminal.run('start --port 0');
  await terminal.shows(/Enter: confirm/u);
  terminal.keys('Down', 'Enter');
  await terminal.shows(/Ctrl-C stops/u);
  expect(readFileSync(config, 'utf8')).toMatch(
    /^# Settings of darkbloom-provider[^]*url = "http:\/\/127\.0\.0\.1:9"\n$/u,
  );
  terminal.keys('C-c');
  await terminal.shows(/Stopped\./u);
  await terminal.run('start --port 0');
  expect(await terminal.shows(/Ctrl-C stops/u)).not.toContain('setting up');
  terminal.keys('C-c');
  await terminal.shows(/Stopped\./u);
});

describe('without a terminal', () => {
  test('nothing is asked or downloaded, and the defaults are printed with their flags', async () => {
    using temporary = new TemporaryHome();
    const seen = server.requests.length;
    await using started = new RunningCommand(['start', '--port', '0'], temporary.home.folder, here(), [
      installed.program,
    ]);
    await started.says(/Ctrl-C stops/u);
    expect(started.stdout).toMatch(/model +darkbloom-tiny-chat, the demo model \(--model NAME: another\)/u);
    expect(started.stdout).toMatch(/first answer after/u);
    expect(server.requests.length).toBe(seen);
    expect(await started.stop()).toBe(0);
  });

  costly('a named model is fetched and asked; the settings keep what was decided', async () => {
    using temporary = new TemporaryHome();
    const { folder, config } = temporary.home;
    const args = ['start', '--port', '0', '--model', 'story', '--keep-loaded'];
    await using started = new RunningCommand(args, folder, here(), [installed.program]);
    await started.says(/model +story\n[^]*Ctrl-C stops/u);
    expect(readFileSync(config, 'utf8')).toContain('keep_loaded = ["story"]');
    expect(existsSync(join(folder, 'models/local-story-f16/story-f16.gguf'))).toBe(true);
    expect(await started.stop()).toBe(0);
  });

  costly('--yes takes the first proposal', async () => {
    using temporary = new TemporaryHome();
    await using started = new RunningCommand(['start', '--port', '0', '--yes'], temporary.home.folder, here(), [
      installed.program,
    ]);
    await started.says(/model +story\n[^]*Ctrl-C stops/u);
    expect(await started.stop()).toBe(0);
  });

  costly('a download that was killed goes on in the next first run', async () => {
    using temporary = new TemporaryHome();
    const { folder, config } = temporary.home;
    server.fault = ({ before }) => (before === 0 ? undefined : { kind: 'stall', afterBytes: 0 });
    const args = ['start', '--port', '0', '--model', 'story'];
    await using killed = new RunningCommand(args, folder, here(), [installed.program]);
    const seen = server.requests.length;
    await eventually('a request for a part', () => server.requests.length > seen || undefined);
    await killed.stop('SIGKILL');
    expect(existsSync(config)).toBe(false);
    server.fault = () => undefined;
    await using started = new RunningCommand(args, folder, here(), [installed.program]);
    await started.says(/first answer after/u);
    expect(await started.stop()).toBe(0);
  });

  test.each([
    [['--model', 'stori'], 64, /no model 'stori'\. Did you mean story\?/u],
    [['--service'], 65, /background service is macOS's/u],
    [['--service', '--foreground'], 64, /cannot be used with/u],
  ])('%j is refused and nothing is written', async (flags, code, sentence) => {
    if (process.platform === 'darwin' && flags.length === 1) return; // there it installs
    using temporary = new TemporaryHome();
    const env = { ...here(), DARKBLOOM_PROVIDER_HTTP_PORT: '0' };
    await using refused = new RunningCommand(['start', ...flags], temporary.home.folder, env, [installed.program]);
    expect(await refused.ended()).toBe(code);
    expect(refused.stderr).toMatch(sentence);
    expect(existsSync(temporary.home.config)).toBe(false);
  });
});
