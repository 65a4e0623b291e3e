import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, afterEach, describe, expect, test, vi } from 'vitest';
import { homeAt, type Home } from '../../src/config.js';
import { Database } from '../../src/database.js';
import { MIGRATIONS } from '../../src/coordinator/migrations.js';
import { readFileIfPresent } from '../../src/util/files.js';
import { runCommand, RunningCommand } from '../support/command.js';
import { eventually } from '../support/eventually.js';
import { freePort } from '../support/free-port.js';
import { linkHome } from '../support/linking.js';
import { loopModel } from '../support/made-models.js';
import { hasProc } from '../support/processes.js';
import { installAgent, LaunchedAgent } from '../support/reboot.js';
import { TemporaryHome } from '../support/temporary-home.js';
import { costly, sampled } from '../support/costly.js';

vi.setConfig({ testTimeout: 180_000 }); // each story starts many processes, one after another

const MODEL = 'darkbloom-tiny-chat';
const MESSAGES = [{ role: 'user', content: 'Hello, Darkbloom!' }];

let temporary: TemporaryHome;
let userHome: string;
let home: Home;
let port: number;
let plist: string;
beforeEach(async () => {
  temporary = new TemporaryHome();
  userHome = temporary.home.folder;
  home = homeAt(join(userHome, 'node'));
  port = await freePort();
  plist = await installAgent(home, userHome);
  writeFileSync(home.config, `[http]\nport = ${port}\n[models.files]\nloop = "${loopModel()}"\n`);
});
afterEach(() => temporary[Symbol.dispose]());

/** A client that knows nothing of restarts: one base URL and one key, for ever. */
class Client {
  readonly baseUrl: string;
  readonly key: string;

  private constructor(baseUrl: string, key: string) {
    this.baseUrl = baseUrl;
    this.key = key;
  }

  /** With the key of a file that the first run makes. */
  static async of(baseUrl: string, keyFile: string): Promise<Client> {
    return new Client(baseUrl, await eventually('there is a key', () => readFileIfPresent(keyFile)?.trim()));
  }

  ask(body: object, headers: Record<string, string> = {}): Promise<Response> {
    return fetch(`${this.baseUrl}/v1/chat/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${this.key}`, 'content-type': 'application/json', ...headers },
      body: JSON.stringify({ model: MODEL, messages: MESSAGES, max_tokens: 1, ...body }),
    });
  }

  /** Resolves when a request is answered. */
  async isAnswered(): Promise<void> {
    await eventually('a request is answered', async () => {
      try {
        return (await this.ask({})).ok ? true : undefined;
      } catch {
        return undefined; // nothing listens there yet
      }
    });
  }
}

describe.skipIf(!hasProc)('after everything was killed at once', () => {
  costly('the service in local mode answers again, whatever the dead one left behind', async () => {
    const client = await (async () => {
      await using before = new LaunchedAgent(plist);
      const known = await Client.of(`http://127.0.0.1:${port}`, home.ownerKey);
      await known.isAnswered(); // and its model is in memory
      await before.killAll();
      return known;
    })();
    expect(readFileIfPresent(home.discovery)).toContain('"pid"');
    // After a reboot the numbers are given out anew: the dead daemon's now belongs to a stranger.
    writeFileSync(
      home.discovery,
      (readFileIfPresent(home.discovery) ?? '').replace(/"pid": \d+/u, `"pid": ${process.pid}`),
    );

    await using _after = new LaunchedAgent(plist);
    await client.isAnswered();
    const status = await runCommand(['status'], home.folder);
    expect(status.stdout).toMatch(/^state +serving/u);
    expect((await runCommand(['why', '--json'], home.folder)).stdout).toContain('"served"');
  });

  costly('in the middle of a paid stream no money stays on hold, and the next request is answered', async () => {
    const client = await (async () => {
      await using before = new LaunchedAgent(plist);
      const known = await Client.of(`http://127.0.0.1:${port}`, home.ownerKey);
      await known.isAnswered();
      expect((await runCommand(['coordinator', 'credit', 'owner', '5'], home.folder)).code).toBe(0);
      const stream = await known.ask(
        { model: 'loop', stream: true, max_tokens: 4_000 },
        { 'x-darkbloom-route': 'none' },
      );
      expect(stream.status).toBe(200);
      const reader = stream.body?.getReader();
      await reader?.read();
      expect(openHolds()).toBe(1);
      await before.killAll();
      return known;
    })();
    expect(openHolds()).toBe(1);
    await using _after = new LaunchedAgent(plist);
    await client.isAnswered();
    expect(openHolds()).toBe(0);
    expect((await client.ask({}, { 'x-darkbloom-route': 'none' })).status).toBe(200);
  });

  test.each(sampled(['the coordinator', 'the provider']))(
    'the linked service answers again when %s comes up first',
    async (first) => {
      const coordinatorHome = homeAt(join(userHome, 'coordinator'));
      const coordinatorPort = await freePort();
      const coordinatorUrl = `http://127.0.0.1:${coordinatorPort}`;
      const startCoordinator = () =>
        new RunningCommand(['coordinator', '--port', String(coordinatorPort)], coordinatorHome.folder);
      const client = await (async () => {
        await using coordinator = startCoordinator();
        await coordinator.says(/Ready\./u);
        const ownerToken = readFileSync(coordinatorHome.ownerToken, 'utf8').trim();
        await linkHome(home, { coordinatorUrl, ownerToken, address: coordinatorUrl });
        writeFileSync(home.config, `[http]\nport = ${port}\n[coordinator]\nurl = "${coordinatorUrl}"\n`);
        await using before = new LaunchedAgent(plist);
        const known = await Client.of(coordinatorUrl, coordinatorHome.ownerKey);
        await known.isAnswered();
        await Promise.all([before.killAll(), coordinator.stop('SIGKILL')]);
        return known;
      })();

      if (first === 'the coordinator') {
        await using coordinator = startCoordinator();
        await coordinator.says(/Ready\./u);
        await using _after = new LaunchedAgent(plist);
        await client.isAnswered();
      } else {
        await using _after = new LaunchedAgent(plist);
        await eventually('the provider has dialled in vain', () =>
          (readFileIfPresent(join(home.folder, 'logs/service.log')) ?? '').includes('ECONNREFUSED') ? true : undefined,
        );
        await using _coordinator = startCoordinator();
        await client.isAnswered();
      }
    },
  );
});

function openHolds(): number {
  const database = new Database(home.database, MIGRATIONS);
  try {
    return Number(database.get('SELECT count(*) AS count FROM open_holds')?.['count']);
  } finally {
    database.close();
  }
}
