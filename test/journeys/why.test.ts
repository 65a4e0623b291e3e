import { once } from 'node:events';
import { copyFileSync, renameSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { describe, expect, vi } from 'vitest';
import { z } from 'zod';
import { askDaemon } from '../../src/cli/control-client.js';
import { homeAt, type Home } from '../../src/config.js';
import { readFileIfPresent } from '../../src/util/files.js';
import { StartedCoordinator } from '../coordinator/started-coordinator.js';
import { runCommand, RunningCommand } from '../support/command.js';
import { eventually } from '../support/eventually.js';
import { FakeCoordinator } from '../support/fake-coordinator.js';
import { freePort } from '../support/free-port.js';
import { linkHome, writeLink } from '../support/linking.js';
import { LossyWay } from '../support/lossy-way.js';
import { loopModel, madeModel, sayModel } from '../support/made-models.js';
import { portOf } from '../support/port-of.js';
import { hasSharedFixtures, ownFixture, sharedFixture } from '../support/shared-fixtures.js';
import { TemporaryHome } from '../support/temporary-home.js';
import { TlsFront } from '../support/tls-front.js';
import { costly } from '../support/costly.js';

vi.setConfig({ testTimeout: 240_000 }); // each story is many processes, one after another

/** Everything here is staged for real: a daemon of its own, real sockets, and `why` as a person runs it. Each story ends
 *  with the next step that was told, taken. */

const Told = z.strictObject({
  schema_version: z.literal(1),
  cause: z.string(),
  sentence: z.string(),
  next_step: z.string().optional(),
});

/** What `why` says: with exit code 75 and a next step, or with 0 and none. */
async function why({ folder }: Home, args: readonly string[] = [], env: Record<string, string> = {}) {
  const { code, stdout, stderr } = await runCommand(['why', ...args, '--json'], folder, env);
  expect(stderr).toBe('');
  const told = Told.parse(JSON.parse(stdout));
  expect([code, told.next_step === undefined]).toEqual(told.cause === 'served' ? [0, true] : [75, false]);
  expect(told.sentence.split('\n')).toHaveLength(1);
  return told;
}

const MAX_ASKED = 60;

/** Asks until the answer is this one, for what takes a moment to be seen. */
async function whyBecomes(cause: string, home: Home, env: Record<string, string> = {}) {
  let told = await why(home, [], env);
  for (let asked = 1; told.cause !== cause && asked < MAX_ASKED; asked++) told = await why(home, [], env);
  expect(told).toMatchObject({ cause });
  return told;
}

/** A daemon in a process of its own. */
async function started(home: Home, args: readonly string[] = [], env: Record<string, string> = {}) {
  const daemon = new RunningCommand(['start', '--foreground', ...args], home.folder, env);
  await daemon.says(/Ready\./u);
  return daemon;
}

/** A coordinator alone in a process of its own, and the way to link a home to it. */
async function startedCoordinator(home: Home, port = 0) {
  const process = new RunningCommand(['coordinator', '--port', String(port)], home.folder);
  const [, url = ''] = await process.says(/address\s+(\S+)/u);
  await process.says(/Ready\./u);
  return {
    url,
    port: Number(new URL(url).port),
    link: (linked: Home, address = url) =>
      linkHome(linked, { coordinatorUrl: url, ownerToken: readFileIfPresent(home.ownerToken)?.trim() ?? '', address }),
    [Symbol.asyncDispose]: () => process[Symbol.asyncDispose](),
  };
}

/** Homes that go together, in one temporary folder. */
class TwoHomes implements Disposable {
  readonly #temporary = new TemporaryHome();
  readonly home = homeAt(join(this.#temporary.home.folder, 'here'));
  readonly other = homeAt(join(this.#temporary.home.folder, 'there'));

  [Symbol.dispose](): void {
    this.#temporary[Symbol.dispose]();
  }
}

const FREE_PORT = ['--port', '0'];
describe('in local mode', () => {
  costly('a daemon that is not there, one that is paused, and one that says nothing', async () => {
    using temporary = new TemporaryHome();
    const { home } = temporary;
    expect(await why(home)).toMatchObject({ cause: 'not_running', next_step: expect.stringMatching(/start$/u) });

    await using daemon = await started(home, FREE_PORT);
    expect(await why(home)).toMatchObject({ cause: 'served', sentence: expect.stringMatching(/tiny-chat/u) });

    await runCommand(['pause'], home.folder);
    expect(await why(home)).toMatchObject({ cause: 'paused', next_step: expect.stringMatching(/resume$/u) });
    expect(await runCommand(['resume'], home.folder)).toMatchObject({ code: 0 });
    expect(await why(home)).toMatchObject({ cause: 'served' });

    daemon.child.kill('SIGSTOP');
    expect(await why(home)).toMatchObject({ cause: 'not_answering', next_step: expect.stringMatching(/^Wait/u) });
    daemon.child.kill('SIGCONT');
    expect(await why(home)).toMatchObject({ cause: 'served' });
  });

  costly('one that stops while a long request runs', async () => {
    using temporary = new TemporaryHome();
    const { home } = temporary;
    const env = { DARKBLOOM_PROVIDER_MODELS_FILES: `loop=${loopModel()}` };
    await using daemon = await started(home, FREE_PORT, env);
    const { base_url, api_key } = await localRecord(home);
    const abort = new AbortController();
    const running = await fetch(`${base_url}/chat/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${api_key}`, 'content-type': 'application/json' },
      body: JSON.stringify({ model: 'loop', messages: [{ role: 'user', content: 'go' }], stream: true }),
      signal: abort.signal,
    });
    const reader = running.body?.getReader();
    await reader?.read();
    daemon.child.kill('SIGTERM');
    await daemon.says(/Stopping after 1 running request/u);
    const told = await why(home);
    expect(told).toMatchObject({ cause: 'draining', sentence: expect.stringMatching(/\(1 running\)/u) });
    expect(told.next_step).toMatch(/^Wait until it has stopped, then: .* start$/u);

    abort.abort();
    expect(await daemon.ended()).toBe(0);
    await using again = await started(home, FREE_PORT, env);
    expect(await why(home)).toMatchObject({ cause: 'served' });
    expect(await again.stop()).toBe(0);
  });

  costly('a port that another program has', async () => {
    using temporary = new TemporaryHome();
    const { home } = temporary;
    const other = createServer().listen(0, '127.0.0.1');
    await once(other, 'listening');
    writeFileSync(home.config, `[http]\nport = ${portOf(other)}\n`);
    await using service = new RunningCommand(['start', '--foreground'], home.folder, AS_AGENT);
    await service.says(/darkbloom-provider/u);
    const told = await whyBecomes('port_taken', home);
    expect(told.sentence).toMatch(
      new RegExp(`Port ${portOf(other)} of 127\\.0\\.0\\.1 is in use by another program\\.$`, 'u'),
    );
    expect(told.next_step).toMatch(/config set http\.port N; the daemon looks again/u);

    const set = await runCommand(['config', 'set', 'http.port', String(await freePort())], home.folder);
    expect(set.code).toBe(0);
    await whyBecomes('served', home);
    await new Promise((resolve) => other.close(resolve));
  });

  costly('a model whose file the settings name and that is not there', async () => {
    using temporary = new TemporaryHome();
    const { home } = temporary;
    const gone = join(home.folder, 'gone.gguf');
    writeFileSync(home.config, `[http]\nport = 0\n[models.files]\nmine = "${gone}"\n`);
    await using service = new RunningCommand(['start', '--foreground'], home.folder, AS_AGENT);
    await service.says(/darkbloom-provider/u);
    const told = await whyBecomes('model_missing', home);
    expect(told.sentence).toContain(`models.files.mine: The model file ${gone} cannot be used: there is no such file.`);
    const [, step = ''] = /darkbloom-provider (config unset \S+);/u.exec(told.next_step ?? '') ?? [];
    expect(await runCommand(step.split(' '), home.folder)).toMatchObject({ code: 0, stderr: '' });
    await whyBecomes('served', home);
  });

  costly('a model whose file was deleted under a running daemon', async () => {
    using temporary = new TemporaryHome();
    const { home } = temporary;
    const path = join(home.folder, 'mine.gguf');
    copyFileSync(sayModel(), path);
    writeFileSync(home.config, `[models.files]\nmine = "${path}"\n`);
    await using _daemon = await started(home, FREE_PORT);
    expect(await why(home, ['other'])).toMatchObject({
      cause: 'model_missing',
      sentence: expect.stringMatching(/no model other/u),
    });
    renameSync(path, `${path}.aside`);
    const missing = { cause: 'model_missing', sentence: `The file of the model mine is gone: ${path}` };
    expect(await why(home)).toMatchObject({ ...missing, next_step: expect.stringMatching(/^Put it back/u) });
    expect(await why(home, ['mine'])).toMatchObject(missing);
    expect(await why(home, ['darkbloom-tiny-chat'])).toMatchObject({ cause: 'served' });
    expect((await runCommand(['status'], home.folder)).stdout).toMatch(/mine: .*its file is gone/u);
    renameSync(`${path}.aside`, path);
    expect(await why(home, ['mine'])).toMatchObject({ cause: 'served' });
  });

  costly('a model that needs more memory than there is', async () => {
    using temporary = new TemporaryHome();
    const { home } = temporary;
    const big = madeModel('endless-context', ['--say', 'Never said.', '--ctx', '10000000', '--layers', '64']);
    writeFileSync(home.config, `[engine]\nslots = 24\ncontext_tokens = 10000000\n[models.files]\nbig = "${big}"\n`);
    const told = await (async () => {
      await using _daemon = await started(home, FREE_PORT);
      return await why(home, ['big']);
    })();
    expect(told).toMatchObject({
      cause: 'memory_too_small',
      sentence: expect.stringMatching(
        /^insufficient memory to load model 'big': it needs [\d.]+ GiB, [\d.]+ of [\d.]+ GiB/u,
      ),
    });
    expect(told.next_step).toMatch(
      /now 10000000 tokens.*config set engine\.context_tokens N.*now 24.*engine\.slots N/u,
    );
    await runCommand(['config', 'set', 'engine.context_tokens', '512'], home.folder);
    await runCommand(['config', 'set', 'engine.slots', '2'], home.folder);
    await using _daemon = await started(home, FREE_PORT);
    expect(await why(home, ['big'])).toMatchObject({ cause: 'served' });
  });
});

/** What launchd sets in the processes of our agent. */
const AS_AGENT = { XPC_SERVICE_NAME: 'io.darkbloom.provider-node' };

const LocalRecord = z.object({ base_url: z.string(), api_key: z.string() });
async function localRecord({ folder }: Home) {
  return LocalRecord.parse(JSON.parse((await runCommand(['local', '--json'], folder)).stdout));
}

describe('linked to a coordinator', () => {
  costly('that is not there', async () => {
    using homes = new TwoHomes();
    const { home, other } = homes;
    const port = await (async () => {
      await using coordinator = await startedCoordinator(other);
      await coordinator.link(home);
      return coordinator.port;
    })();
    await using _daemon = await started(home, FREE_PORT);
    const told = await whyBecomes('coordinator_unreachable', home);
    expect(told.sentence).toMatch(
      new RegExp(`http://127\\.0\\.0\\.1:${port} cannot be reached.*nothing listens there`, 'u'),
    );
    expect(told.next_step).toMatch(/darkbloom-provider coordinator.*tries again by itself/u);
    await using _coordinator = await startedCoordinator(other, port);
    await whyBecomes('served', home);
  });

  costly('that does not know the link token, nor after the new link the daemon that was not restarted', async () => {
    using homes = new TwoHomes();
    const { home, other } = homes;
    await using coordinator = await startedCoordinator(other);
    writeLink(home, coordinator.url, 'eigeninference-pt-nobody-knows');
    {
      await using daemon = await started(home, FREE_PORT);
      await daemon.says(/link online/u);
      const told = await why(home);
      expect(told).toMatchObject({ cause: 'wrong_link_token' });
      expect(told.next_step).toContain(`darkbloom-provider link ${coordinator.url}; then`);
      await coordinator.link(home);
      expect(await why(home)).toMatchObject({
        cause: 'not_accepted',
        next_step: expect.stringMatching(/^Restart it/u),
      });
    }
    await using _daemon = await started(home, FREE_PORT);
    await whyBecomes('served', home);
  });

  costly('to which the answers to its challenges do not come', async () => {
    await using stage = await StartedCoordinator.start();
    const { coordinator, clock, ownerToken } = stage;
    await using way = await LossyWay.listen(coordinator.url);
    way.loses.add('attestation_response');
    using temporary = new TemporaryHome();
    const { home } = temporary;
    await linkHome(home, { coordinatorUrl: coordinator.url, ownerToken, address: way.url });
    {
      await using daemon = await started(home, FREE_PORT);
      await daemon.says(/link online/u);
      const told = await whyBecomes('challenge_unanswered', home);
      expect(told.sentence).toContain(`${way.url} does not route to this machine`);
      expect(told.next_step).toMatch(/^Connect anew: /u);

      for (let minute = 0; minute < 11; minute++) {
        clock.turn(60_000);
        await askDaemon(home, '/pause'); // tells the coordinator at once, so that the machine is heard all the while
        await askDaemon(home, '/resume');
        await eventually('it was heard', () => {
          const [session] = coordinator.fleet.sessions;
          return session?.heardAt === clock.now() && !session.machine.draining ? true : undefined;
        });
      }
      const derouted = await whyBecomes('not_trusted', home);
      expect(derouted.sentence).toContain('(3 challenges in a row were not answered)');
      expect(derouted.next_step).toMatch(/^Connect anew: /u);
      const status = (await runCommand(['status'], home.folder)).stdout.replace(/\s+/gu, ' ');
      expect(status).toContain('not trusted, so no requests come: 3 challenges in a row were not answered');
    }
    way.loses.clear();
    await using _daemon = await started(home, FREE_PORT);
    await whyBecomes('served', home);
  });

  costly('behind TLS that is not trusted, then behind one of another name', async () => {
    using homes = new TwoHomes();
    const { home, other } = homes;
    await using coordinator = await startedCoordinator(other);
    await using front = await TlsFront.listen('localhost', coordinator.port);
    const env = { NODE_EXTRA_CA_CERTS: front.certificate };
    await coordinator.link(home, `https://127.0.0.1:${front.port}`);
    {
      await using _daemon = await started(home, FREE_PORT);
      const told = await whyBecomes('tls_failed', home);
      expect(told.sentence).toMatch(/is not trusted by this machine \(self-signed certificate\)/u);
      expect(told.next_step).toContain('NODE_EXTRA_CA_CERTS=FILE');
    }
    {
      await using _daemon = await started(home, FREE_PORT, env);
      const told = await whyBecomes('tls_failed', home);
      expect(told.sentence).toMatch(/is for another name/u);
    }
    await coordinator.link(home, `https://localhost:${front.port}`);
    await using _daemon = await started(home, FREE_PORT, env);
    await whyBecomes('served', home, env);
  });

  costly('that speaks no TLS where TLS was expected', async () => {
    using homes = new TwoHomes();
    const { home, other } = homes;
    await using coordinator = await startedCoordinator(other);
    await coordinator.link(home, coordinator.url.replace('http', 'https'));
    await using _daemon = await started(home, FREE_PORT);
    const told = await whyBecomes('tls_failed', home);
    expect(told.next_step).toContain(`darkbloom-provider link ${coordinator.url}`);
  });

  costly('that does not route to this runtime', async () => {
    await using coordinator = await FakeCoordinator.listen();
    using temporary = new TemporaryHome();
    const { home } = temporary;
    writeLink(home, coordinator.url, 'eigeninference-pt-of-a-test');
    await using _daemon = await started(home, FREE_PORT);
    await coordinator.received('register');
    coordinator.sendText(runtimeMismatch());
    const told = await whyBecomes('not_routable', home);
    expect(told.sentence).toMatch(/does not route to this runtime \(\w+: wants /u);
    const { base_url, api_key } = await localRecord(home);
    expect(told.next_step).toContain(base_url);
    const direct = await fetch(`${base_url}/chat/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${api_key}`, 'content-type': 'application/json' },
      body: JSON.stringify({ model: 'darkbloom-tiny-chat', messages: [{ role: 'user', content: 'Hello' }] }),
    });
    expect(direct.status).toBe(200);
  });
});

const Recording = z.object({ cases: z.array(z.object({ name: z.string(), wire: z.string() })) });

/** What a hosted coordinator said to a runtime that it does not accept, as recorded; a sample where there is no recording. */
function runtimeMismatch(): string {
  const { cases } = Recording.parse(
    hasSharedFixtures
      ? sharedFixture('protocol/wire_coordinator_to_provider.v1.json')
      : ownFixture('wire/coordinator_to_provider.json'),
  );
  const found = cases.find(({ wire }) => wire.includes('"runtime_status"') && wire.includes('"verified":false'));
  if (found === undefined) throw new Error('There is no runtime_status that says no.');
  return found.wire;
}
