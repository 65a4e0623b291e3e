import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import { PROGRAM, RunningCommand, runCommand } from '../support/command.js';
import { argumentsOf, descendantsOf, hasProc, untilGone } from '../support/processes.js';
import { TemporaryHome } from '../support/temporary-home.js';

const QUESTION = 'Hello, Darkbloom!';
const OTHER_QUESTION = 'Count to 5';

/** The demo model's greedy answers, as llama.cpp gave them when it was made. */
const Expected = z.array(
  z.object({
    messages: z.array(z.object({ content: z.string() })),
    greedy_output: z.string(),
    prompt_tokens: z.number(),
    completion_tokens: z.number(),
  }),
);
const expected = Expected.parse(
  JSON.parse(readFileSync(new URL('../fixtures/expected.json', import.meta.url), 'utf8')),
);

/** A place where a demo may leave nothing: its home, and inside it the folder for temporary files. */
let home: TemporaryHome;
let folder: string;
let temporary: string;
beforeAll(() => {
  home = new TemporaryHome();
  folder = home.home.folder;
  temporary = join(folder, 'tmp');
  mkdirSync(temporary);
});
afterAll(() => home[Symbol.dispose]());

const startDemo = (args: readonly string[] = [], launcher?: [string, ...string[]]) =>
  new RunningCommand(['demo', ...args], folder, { TMPDIR: temporary }, launcher);
const runDemo = (...args: string[]) => runCommand(['demo', ...args], folder, { TMPDIR: temporary });

const Result = z.strictObject({
  answer: z.string(),
  model: z.string(),
  route: z.string(),
  encrypted: z.boolean(),
  ttft_ms: z.number().positive(),
  tokens_per_second: z.number().positive(),
  prompt_tokens: z.number(),
  completion_tokens: z.number(),
  cost_micro_usd: z.number(),
});
const resultIn = (stdout: string) => Result.parse(JSON.parse(stdout.trimEnd().split('\n').at(-1) ?? ''));

function expectedFor(question: string) {
  const found = expected.find(({ messages }) => messages.length === 1 && messages[0]?.content === question);
  if (found === undefined) throw new Error(`expected.json does not have ${question}`);
  const { greedy_output: answer, prompt_tokens, completion_tokens } = found;
  return { answer, prompt_tokens, completion_tokens };
}

test('with --once the demo ends with 0, and its last line says what came back and how it was recorded', async () => {
  const { code, stdout, stderr } = await runDemo('--once');
  expect(code).toBe(0);
  expect(stderr).toBe('');
  const { ttft_ms: _ttft, tokens_per_second: _speed, ...result } = resultIn(stdout);
  expect(result).toEqual({
    ...expectedFor(QUESTION),
    model: 'darkbloom-tiny-chat',
    route: 'self',
    encrypted: true,
    cost_micro_usd: 0,
  });
  expect(readdirSync(folder)).toEqual(['tmp']);
  expect(readdirSync(temporary)).toEqual([]);
});

test('--prompt changes the question', async () => {
  const { code, stdout } = await runDemo('--once', '--prompt', OTHER_QUESTION);
  expect(code).toBe(0);
  expect(resultIn(stdout)).toMatchObject(expectedFor(OTHER_QUESTION));
});

test('without --once it stays, its snippets work as printed, and Ctrl-C ends it with 0 and deletes its folder', async () => {
  await using demo = startDemo();
  await demo.says(/Ctrl-C ends the demo/u);
  const [, baseUrl = '', key = ''] = await demo.says(/OpenAI\(base_url="([^"]+)", api_key="([^"]+)"\)/u);
  expect(baseUrl).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/v1$/u);
  expect(key).toMatch(/^sk-db-[0-9a-f]{64}$/u);
  await demo.says(/chat\.completions\.create\(model="darkbloom-tiny-chat"/u);
  expect(demo.stdout).toContain(`anthropic.Anthropic(base_url="${baseUrl}", api_key="${key}")`);
  expect(readdirSync(temporary)).toHaveLength(1);

  const curl = /curl -X POST (\S+) -H "Authorization: (Bearer \S+)" -H "Content-Type: (\S+)" \\\n +-d '([^']+)'/u;
  const [, url = '', authorization = '', type = '', body = ''] = await demo.says(curl);
  const response = await fetch(url, { method: 'POST', headers: { authorization, 'content-type': type }, body });
  expect(response.status).toBe(200);
  expect(await response.text()).toMatch(/data: \[DONE\]\n\n$/u);

  expect(await demo.stop('SIGINT')).toBe(0);
  expect(demo.stderr).toBe('');
  expect(readdirSync(temporary)).toEqual([]);
});

test.skipIf(!hasProc)('a demo that is killed leaves no process behind', async () => {
  await using demo = startDemo();
  await demo.says(/Ctrl-C ends the demo/u);
  const children = descendantsOf(demo.pid);
  expect(children.map(argumentsOf).flat().join(' ')).toContain('runner/main.js');
  await demo.stop('SIGKILL');
  await untilGone(children);
});

const canSeeParents = hasProc && existsSync('/bin/ps');

test.skipIf(!canSeeParents)(
  'a demo ends with the npm that ran it, though the shell between them still waits',
  async () => {
    const before = readdirSync(temporary);
    const shell = `sh -c '"$@" & wait' between "$@" & wait`;
    await using npm = startDemo([], ['/bin/sh', '-c', shell, 'npm', PROGRAM]);
    await npm.says(/Ctrl-C ends the demo/u);
    const below = descendantsOf(npm.pid);
    expect(below.map(argumentsOf).flat()).toContain('between');
    npm.child.kill('SIGKILL');
    await untilGone(below);
    expect(readdirSync(temporary)).toEqual(before);
  },
);
