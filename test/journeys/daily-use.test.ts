import { existsSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { homeAt, type Home } from '../../src/config.js';
import { Status } from '../../src/service/status.js';
import { RunningCommand, runCommand } from '../support/command.js';
import { eventually } from '../support/eventually.js';
import { FakeCoordinator } from '../support/fake-coordinator.js';
import { writeLink } from '../support/linking.js';
import { madeModel, sayModel } from '../support/made-models.js';
import { isRunning } from '../support/processes.js';
import { TemporaryHome } from '../support/temporary-home.js';

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
const errorIn = async (response: Response) =>
  ((await response.json()) as { error: { message: string } }).error.message;

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
    for (let words = 0; words < 20; ) {
      const { value, done } = await this.#reader.read();
      if (done) throw new Error('The answer has ended.');
      words += Buffer.from(value).toString('utf8').split('"content":"').length - 1;
    }
  }

  leave(): void {
    this.#leave.abort();
  }
}

describe('a day with one machine', () => {
  let temporary: TemporaryHome;
  let home: Home;
  let daemon: RunningCommand;
  let local: Local;
  beforeAll(async () => {
    temporary = new TemporaryHome();
    home = homeAt(join(temporary.home.folder, 'provider'));
    temporary.write(home.config, models());
    daemon = start(home);
    await daemon.says(/Ready\./u);
    local = await localOf(home);
  });
  afterAll(async () => {
    await daemon[Symbol.asyncDispose]();
    temporary[Symbol.dispose]();
  });
});
