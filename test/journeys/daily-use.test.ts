import { appendFileSync, existsSync, statSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect } from 'vitest';
import type { Home } from '../../src/config.js';
import { Status } from '../../src/service/status.js';
import { isAlive } from '../../src/util/processes.js';
import { RunningCommand, runCommand } from '../support/command.js';
import { eventually } from '../support/eventually.js';
import { FakeCoordinator } from '../support/fake-coordinator.js';
import { writeLink } from '../support/linking.js';
import { madeModel, sayModel } from '../support/made-models.js';
import { TemporaryHome } from '../support/temporary-home.js';
import { costly } from '../support/costly.js';

const SAYS = 'Hello there, this is a deterministic test reply.';
/** Room for an endless answer to go on until its reader leaves, also on a fast machine. */
const CONTEXT = 65_536;

/** Two models: one that ends, and one that does not. */
const models = (): string => `[engine]
context_tokens = ${CONTEXT}
[models.files]
say = "${sayModel()}"
loop = "${madeModel('long-loop', ['--loop', '--say', 'One two three four.', '--ctx', String(CONTEXT)])}"
`;

const start = ({ folder }: Home) => new RunningCommand(['start', '--foreground', '--port', '0'], folder);

async function statusOf({ folder }: Home): Promise<Status> {
  const { code, stdout, stderr } = await runCommand(['status', '--json'], folder);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  return Status.parse(JSON.parse(stdout));
}

async function localOf({ folder }: Home): Promise<{ base_url: string; api_key: string }> {
  return JSON.parse((await runCommand(['local', '--json'], folder)).stdout) as { base_url: string; api_key: string };
}

type Local = Awaited<ReturnType<typeof localOf>>;
function ask({ base_url: baseUrl, api_key: key }: Local, model: string, signal?: AbortSignal): Promise<Response> {
  return fetch(`${baseUrl}/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${key}` },
    body: JSON.stringify({ model, stream: signal !== undefined, messages: [{ role: 'user', content: 'Hi' }] }),
    ...(signal === undefined ? {} : { signal }),
  });
}

const textIn = async (response: Response) =>
  ((await response.json()) as { choices: [{ message: { content: string } }] }).choices[0].message.content;
const errorIn = async (response: Response) => ((await response.json()) as { error: { message: string } }).error.message;

/** An answer that goes on until its reader leaves. */
class EndlessAnswer {
  readonly #leave: AbortController;
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;

  private constructor(leave: AbortController, reader: ReadableStreamDefaultReader<Uint8Array>) {
    this.#leave = leave;
    this.#reader = reader;
  }

  static async begin(local: Local): Promise<EndlessAnswer> {
    const leave = new AbortController();
    const { status, body } = await ask(local, 'loop', leave.signal);
    if (status !== 200 || body === null) throw new Error(`It was answered with ${status}.`);
    const answer = new EndlessAnswer(leave, (body as ReadableStream<Uint8Array>).getReader());
    await answer.goesOn();
    return answer;
  }

  /** Reads more of its words than can lie in a buffer on the way. */
  async goesOn(): Promise<void> {
    for (let words = 0; words < 20;) {
      const { value, done } = await this.#reader.read();
      if (done) throw new Error('The answer has ended.');
      words += Buffer.from(value).toString('utf8').split('"content":"').length - 1;
    }
  }

  leave(): void {
    this.#leave.abort();
  }
}

const isIdle = ({ requests }: Status) => requests.running + requests.waiting === 0;

/** What a stopped daemon leaves behind. */
function expectGone(home: Home, daemon: RunningCommand): void {
  expect(isAlive(daemon.pid)).toBe(false);
  expect(existsSync(home.discovery)).toBe(false);
  expect(existsSync(home.controlSocket)).toBe(false);
}

describe('a day with one machine', () => {
  let temporary: TemporaryHome;
  let home: Home;
  let daemon: RunningCommand;
  let local: Local;
  beforeAll(async () => {
    temporary = new TemporaryHome();
    home = temporary.home;
    writeFileSync(home.config, models());
    daemon = start(home);
    await daemon.says(/Ready\./u);
    local = await localOf(home);
  });
  afterAll(async () => {
    await daemon[Symbol.asyncDispose]();
    temporary[Symbol.dispose]();
  });

  costly('its control socket and its record are for its owner alone', () => {
    const modeOf = (path: string) => (statSync(path).mode & 0o777).toString(8);
    expect(modeOf(home.controlSocket)).toBe('600');
    expect(modeOf(home.discovery)).toBe('600');
  });

  costly('local --json gives base URL and key, and as text the same with examples', async () => {
    expect(local).toMatchObject({ schema_version: 1, mode: 'local', pid: daemon.pid });
    const { code, stdout } = await runCommand(['local'], home.folder);
    expect(code).toBe(0);
    expect(stdout).toContain(local.base_url);
    expect(stdout).toContain(local.api_key);
  });

  costly('status tells an idle machine that serves', async () => {
    const status = await statusOf(home);
    expect(status).toMatchObject({
      state: 'serving',
      mode: 'local',
      pid: daemon.pid,
      base_url: local.base_url,
      home: home.folder,
      connection: { state: 'online' },
      memory: { used_bytes: 0 },
      requests: { running: 0, waiting: 0, served: 0, tokens_generated: 0 },
      errors: [],
    });
    expect(status.models.map(({ alias, state }) => [alias, state])).toEqual([
      ['darkbloom-tiny-chat', 'absent'],
      ['say', 'absent'],
      ['loop', 'absent'],
    ]);
    expect(status.tokens_per_second).toEqual(Array.from({ length: 60 }, () => 0));
  });

  costly('status as text fits a screen without colours, for whoever reads it through a pipe', async () => {
    const { code, stdout, stderr } = await runCommand(['status'], home.folder, { CI: 'true' });
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toMatch(/^state {7}serving$/mu);
    expect(stdout).toMatch(/^model {7}say: not loaded until a request comes, /mu);

    expect(stdout).not.toMatch(/\x1b/u);
    for (const line of stdout.split('\n')) expect(line.length).toBeLessThanOrEqual(80);
    const watch = await runCommand(['status', '--watch'], home.folder);
    expect(watch).toMatchObject({ code: 64, stdout: '' });
    expect(watch.stderr).toContain('--watch needs a terminal');
  });

  costly('status follows a request while it runs, and counts it when it has ended', async () => {
    const answer = await EndlessAnswer.begin(local);
    const during = await statusOf(home);
    expect(during.requests).toEqual({ running: 1, waiting: 0, served: 0, tokens_generated: 0 });
    const loop = during.models.find(({ alias }) => alias === 'loop');
    expect(loop).toMatchObject({ state: 'ready', running: 1, waiting: 0, context_tokens: CONTEXT });
    expect(during.memory.used_bytes).toBe(loop?.memory_bytes);

    answer.leave();
    const after = await eventually('the request has ended', async () => {
      const status = await statusOf(home);
      return isIdle(status) ? status : undefined;
    });
    expect(after.requests).toMatchObject({ running: 0, waiting: 0, served: 1 });
    expect(after.requests.tokens_generated).toBeGreaterThan(0);
    expect(after.models.find(({ alias }) => alias === 'loop')).toMatchObject({ state: 'ready', running: 0 });

    expect(await textIn(await ask(local, 'say'))).toBe(SAYS);
    const more = (await statusOf(home)).requests;
    expect(more.served).toBe(2);
    expect(more.tokens_generated).toBeGreaterThan(after.requests.tokens_generated);
  });

  costly(
    'pause refuses new requests, the owner too; what runs goes on, connection and models stay; resume answers',
    async () => {
      const answer = await EndlessAnswer.begin(local);
      const before = await statusOf(home);
      const paused = await runCommand(['pause'], home.folder);
      expect(paused).toMatchObject({ code: 0, stderr: '' });
      expect(paused.stdout).toContain('Paused. What runs goes on: 1 running request.');

      const refused = await ask(local, 'say');
      expect(refused.status).toBe(503);
      expect(await errorIn(refused)).toContain('`darkbloom-provider resume`');
      await answer.goesOn();

      const during = await statusOf(home);
      expect(during.state).toBe('paused');
      expect(during.connection).toEqual(before.connection);
      expect(during.models.map(({ state }) => state)).toEqual(before.models.map(({ state }) => state));
      expect((await runCommand(['status'], home.folder)).stdout).toContain('`darkbloom-provider resume` serves again');
      answer.leave();

      const resumed = await runCommand(['resume'], home.folder);
      expect(resumed).toMatchObject({ code: 0, stderr: '' });
      expect(resumed.stdout).toContain('The daemon is serving.');
      expect(await textIn(await ask(local, 'say'))).toBe(SAYS);
      expect((await statusOf(home)).connection).toEqual(before.connection);
    },
  );

  costly('stop waits for the request that runs, and leaves nothing behind', async () => {
    const answer = await EndlessAnswer.begin(local);
    await using stop = new RunningCommand(['stop'], home.folder);
    await stop.says(/Waiting for 1 running request\./u);
    await answer.goesOn();
    expect((await statusOf(home)).state).toBe('draining');
    const refused = await ask(local, 'say');
    expect(refused.status).toBe(503);

    answer.leave();
    expect(await stop.ended()).toBe(0);
    expect(stop.stdout).toContain('Stopped.');
    expectGone(home, daemon);
    expect(await daemon.ended()).toBe(0);
    expect(daemon.stdout).toMatch(/Stopped\.\n$/u);
  });

  costly('without a daemon every question to it ends with 75 and one sentence', async () => {
    for (const args of [['status'], ['pause'], ['resume'], ['stop'], ['local']]) {
      const ended = await runCommand(args, home.folder);
      expect(ended).toEqual({
        code: 75,
        stdout: '',
        stderr: 'error No daemon runs in this home. Start it with `darkbloom-provider start`.\n',
      });
    }
    expect(await runCommand(['local', '--json'], home.folder)).toEqual({ code: 1, stdout: '{}\n', stderr: '' });
  });
});

costly(
  'a linked machine that is told to stop finishes the request of its own programs first, and counts it',
  async () => {
    await using coordinator = await FakeCoordinator.listen();
    using temporary = new TemporaryHome();
    const { home } = temporary;
    writeLink(home, coordinator.url, 'eigeninference-pt-of-a-test');
    appendFileSync(home.config, models());
    await using daemon = start(home);
    await coordinator.received('register');
    await daemon.says(/Ready\./u);
    const local = await localOf(home);
    expect(await textIn(await ask(local, 'say'))).toBe(SAYS);
    const { mode, requests } = await statusOf(home);
    expect(mode).toBe('linked');
    expect(requests).toMatchObject({ running: 0, served: 1 });
    expect(requests.tokens_generated).toBeGreaterThan(0);

    const answer = await EndlessAnswer.begin(local);
    await using stop = new RunningCommand(['stop'], home.folder);
    await stop.says(/Waiting for 1 running request\./u);
    await answer.goesOn();
    answer.leave();
    expect(await stop.ended()).toBe(0);
    expectGone(home, daemon);
  },
);

costly(
  'a daemon that was killed leaves a socket that nobody answers: status says so, and the next start takes its place',
  async () => {
    using temporary = new TemporaryHome();
    const { home } = temporary;
    await using killed = start(home);
    await killed.says(/Ready\./u);
    await killed.stop('SIGKILL');
    expect(existsSync(home.controlSocket)).toBe(true);
    expect((await runCommand(['status'], home.folder)).code).toBe(75);
    await using daemon = start(home);
    await daemon.says(/Ready\./u);
    expect((await statusOf(home)).pid).toBe(daemon.pid);
  },
);

costly('a home whose path is too long for a socket is refused in one sentence, and the process ends', async () => {
  using temporary = new TemporaryHome();
  const ended = await runCommand(
    ['start', '--foreground', '--port', '0'],
    `${temporary.home.folder}/${'long'.repeat(30)}`,
  );
  expect(ended.code).toBe(65);
  expect(ended.stderr).toContain('is too long a path for a socket');
});
