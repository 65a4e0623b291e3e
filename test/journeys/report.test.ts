import { execFileSync, spawnSync } from 'node:child_process';
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { homedir, hostname, userInfo } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { MAX_LOG_LINES, MAX_REPORT_BYTES, ReportOutput } from '../../src/cli/report.js';
import type { Home } from '../../src/config.js';
import { homeAt } from '../../src/config.js';
import { PROGRAM, runCommand, RunningCommand } from '../support/command.js';
import { eventually } from '../support/eventually.js';
import { sayModel } from '../support/made-models.js';
import { TemporaryHome } from '../support/temporary-home.js';
import { costly } from '../support/costly.js';

/** What launchd sets: a service writes its log to a file. */
const AS_SERVICE = { XPC_SERVICE_NAME: 'io.darkbloom.provider-node' };
const PROMPT = 'zanthoxylum quixotry bdellium';

const readReport = (path: string) => ReportOutput.parse(JSON.parse(readFileSync(path, 'utf8')));

describe('the report of a machine that served', () => {
  let temporary: TemporaryHome;
  let home: Home;
  let env: Record<string, string>;
  let daemon: RunningCommand;
  let secrets: string[];
  const report = (...args: string[]) => runCommand(['report', ...args], home.folder, env);

  beforeAll(async () => {
    temporary = new TemporaryHome();
    const userHome = temporary.home.folder;
    home = homeAt(join(userHome, 'node'));
    env = { HOME: userHome, DARKBLOOM_PROVIDER_HOME: home.folder };
    mkdirSync(home.folder);
    writeFileSync(home.config, `[http]\nport = 0\n[models.files]\nsay = "${sayModel()}"\n`);
    daemon = new RunningCommand(['start', '--foreground'], home.folder, { ...env, ...AS_SERVICE });
    const local = await eventually('it serves', async () => {
      const { stdout } = await runCommand(['local', '--json'], home.folder, env);
      return z.object({ base_url: z.string(), api_key: z.string() }).safeParse(JSON.parse(stdout)).data;
    });
    for (const model of ['say', 'no-such-model']) {
      const messages = [{ role: 'user', content: PROMPT }];
      const response = await fetch(`${local.base_url}/chat/completions`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', authorization: `Bearer ${local.api_key}` },
        body: JSON.stringify({ model, messages }),
      });
      expect(response.status).toBe(model === 'say' ? 200 : 404);
    }
    const files = [home.ownerToken, home.ownerKey, home.selfLinkToken];
    secrets = [local.api_key, ...files.map((path) => readFileSync(path, 'utf8').split('\n')[0] ?? '')];
    for (const secret of secrets) expect(secret.length).toBeGreaterThan(20);
  });
  afterAll(async () => {
    await daemon[Symbol.asyncDispose]();
    temporary[Symbol.dispose]();
  });

  function expectNothingPrivate(text: string): void {
    const model = sayModel();
    for (const word of [...secrets, ...PROMPT.split(' '), 'deterministic', temporary.home.folder, homedir(), model])
      expect(text).not.toContain(word);
    for (const name of [hostname(), userInfo().username])
      expect(text.split(/[^\p{L}\p{N}-]+/u).map((word) => word.toLowerCase())).not.toContain(name.toLowerCase());
  }

  costly('it is shown whole, written only with --yes, for its owner alone, and never over another file', async () => {
    const out = join(temporary.home.folder, 'report.json');
    const shown = await report('--out', out);
    expect(shown).toMatchObject({
      code: 0,
      stderr: expect.stringMatching(/--yes.*\nNothing was written, nothing was/u),
    });
    expect(existsSync(out)).toBe(false);
    ReportOutput.parse(JSON.parse(shown.stdout));

    const written = await report('--out', out, '--yes');
    expect(written.code).toBe(0);
    const text = readFileSync(out, 'utf8');
    expect(written.stdout.startsWith(text)).toBe(true);
    expect(written.stdout.slice(text.length)).toMatch(/^ +✓ .*report\.json, .* Nothing was sent anywhere\.\n$/u);
    expect((statSync(out).mode & 0o777).toString(8)).toBe('600');

    const again = await report('--out', out, '--yes');
    expect(again).toMatchObject({ code: 64, stdout: '' });
    expect(again.stderr).toMatch(/report\.json exists and stays as it is\. Name another file with --out\./u);
    expect(readFileSync(out, 'utf8')).toBe(text);
  });

  costly('it tells what a maintainer asks for, and nothing that is private', async () => {
    const { stdout, code } = await report('--json');
    expect(code).toBe(0);
    const told = ReportOutput.parse(JSON.parse(stdout));
    expect(told).toMatchObject({ problems: [], status: { state: 'serving', home: '~/node', requests: { served: 1 } } });
    expect(told.settings?.find(({ key }) => key === 'models.files')?.value).toEqual({ say: '[model file]' });
    expect(told.settings?.find(({ key }) => key === 'http.port')?.origin).toBe('~/node/config.toml, line 2');
    expect(told.log?.lines.map(({ msg }) => msg)).toContain('link online');
    expect(told.files?.entries).toContainEqual({
      path: 'owner-token',
      kind: 'file',
      size_bytes: statSync(home.ownerToken).size,
      mode: '600',
    });
    expect(told.doctor).toBeUndefined();
    expectNothingPrivate(stdout);
  });

  costly('with --doctor it holds the checks and what a real request says', async () => {
    const { stdout, code } = await report('--json', '--doctor');
    expect(code).toBe(0);
    const { doctor, why } = ReportOutput.parse(JSON.parse(stdout));
    expect(doctor?.find(({ name }) => name === 'a token')).toMatchObject({ verdict: 'good' });
    expect(why?.cause).toBe('served');
    expectNothingPrivate(stdout);
  });

  const hasScript = process.platform === 'linux' && spawnSync('script', ['--version']).status === 0;
  test.skipIf(!hasScript).each([
    ['y', true],
    ['n', false],
    ['', false],
  ])('on a terminal it asks; %j writes: %s', async (answer, isWritten) => {
    const out = join(temporary.home.folder, `answered-${answer}.json`);
    const keyboard = join(temporary.home.folder, `keyboard-${answer}`);
    execFileSync('mkfifo', [keyboard]);
    const line = `script -qec '${PROGRAM} report --out ${out}' /dev/null < ${keyboard}`;
    const keys = openSync(keyboard, 'r+'); // until it is closed, the terminal stays
    await using terminal = new RunningCommand(['-c', line], home.folder, env, ['sh']);
    await terminal.says(/Nothing is sent\. \[y\/N\]/u);
    writeSync(keys, `${answer}\n`);
    await terminal.says(isWritten ? /✓/u : /Nothing was written/u);
    closeSync(keys);
    expect(await terminal.ended()).toBe(0);
    expect(existsSync(out)).toBe(isWritten);
    if (isWritten) expectNothingPrivate(JSON.stringify(readReport(out)));
  });
});

costly('a machine where much is broken still gets its report, with what could not be found out', async () => {
  using temporary = new TemporaryHome();
  const { folder, config, ownerToken } = temporary.home;
  writeFileSync(config, '[http]\nport = "none"\n');
  mkdirSync(ownerToken); // no file
  const { stdout, code } = await runCommand(['report', '--json', '--doctor'], folder);
  expect(code).toBe(0);
  const { problems, why, doctor, settings } = ReportOutput.parse(JSON.parse(stdout));
  expect(settings).toBeUndefined();
  expect(problems).toEqual([
    { part: 'settings', message: expect.stringMatching(/^~\/config\.toml, line 2: http\.port/u) },
  ]);
  expect(why?.cause).toBe('not_running');
  expect(doctor?.find(({ name }) => name === 'settings')?.verdict).toBe('bad');
});

costly('a long log is bounded in lines and bytes, the newest stay', async () => {
  using temporary = new TemporaryHome();
  const { folder } = temporary.home;
  mkdirSync(join(folder, 'logs'));
  const lines = Array.from({ length: 1_000 }, (_, number) =>
    JSON.stringify({ level: 30, time: '2026-11-22T10:00:00.000Z', msg: 'line', number, a: 'é '.repeat(3_000) }),
  );
  writeFileSync(join(folder, 'logs/service.log'), `${lines.join('\n')}\n`);
  const out = join(folder, 'report.json');
  expect(await runCommand(['report', '--out', out, '--yes'], folder)).toMatchObject({ code: 0 });
  expect(statSync(out).size).toBeLessThanOrEqual(MAX_REPORT_BYTES);
  const { log } = readReport(out);
  expect(log?.lines.at(-1)).toMatchObject({ number: 999 });
  expect(log?.lines.length).toBeGreaterThan(0);
  expect(log?.lines.length).toBeLessThanOrEqual(MAX_LOG_LINES);
  expect((log?.lines.length ?? 0) + (log?.left_out ?? 0)).toBe(1_000);
});

test.each([
  [['--json', '--yes'], /leave --out and --yes out/u],
  [['--out', 'no/such/folder/report.json', '--yes'], /cannot be written \(ENOENT\)\. Name another file/u],
])('report %j is refused in one sentence', async (args, sentence) => {
  using temporary = new TemporaryHome();
  const ended = await runCommand(['report', ...args], temporary.home.folder);
  expect(ended.code).toBe(64);
  expect(ended.stderr).toMatch(sentence);
  expect(readdirSync(temporary.home.folder)).toEqual([]);
});
