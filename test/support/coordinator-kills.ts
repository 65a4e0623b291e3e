import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';
import { Accounts } from '../../src/coordinator/accounts.js';
import { auditBooks } from '../../src/coordinator/audit.js';
import { Ledger } from '../../src/coordinator/ledger.js';
import { MIGRATIONS } from '../../src/coordinator/migrations.js';
import { Identity } from '../../src/crypto/identity.js';
import { Database } from '../../src/database.js';
import { systemClock } from '../../src/util/clock.js';
import { PACKAGE_ROOT } from '../../src/util/version.js';
import { FakeMachine, type FakeRequest } from './fake-machine.js';
import { seededNumbers } from './hosted-build.js';

const BUILD = 'local/tiny';
const CLIENTS = 6;
const CREDIT = 1_000_000_000n;
/** A kill comes after so many frames of the machine and answers to clients at most. Answers count because a machine that
 *  failed twice in a row rests: from then on clients are refused at once and no frame comes. */
const MAX_EVENTS = 80;
/** And so long after that at most, so that it may hit the middle of anything. */
const MAX_LATE_MS = 4;

/** What the books were after one kill, before the coordinator started again, and right after its start. */
export interface Kill {
  /** Frames of the machine and answers to clients before it. */
  events: number;
  discrepancies: number;
  /** Holds that were open when it was killed. */
  openHolds: number;
  openAfterStart: number;
}

export interface KillReport {
  kills: Kill[];
  /** Answers that a client got whole. */
  answered: number;
  /** Of those, how many the books know under their id with other tokens, or not at all. */
  unpaid: number;
  /** Requests in the books. */
  settled: number;
  /** Left at the end: discrepancies, open holds, and micro-USD that all accounts have more or less than was given. */
  discrepancies: number;
  openHolds: number;
  lost: bigint;
}

/** Kills a coordinator process in the middle of paid traffic at seeded instants, and starts it again on the same books. */
export async function killCoordinator(seed: number, kills: number): Promise<KillReport> {
  const folder = mkdtempSync(join(tmpdir(), 'coordinator-kills-'));
  try {
    return await new Story(join(folder, 'coordinator.db'), seed).run(kills);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

class Story {
  readonly #database: string;
  readonly #seed: number;
  readonly #identity = new Identity();
  readonly #linkToken: string;
  readonly #keys: string[];
  /** Tokens that clients were told, by job. */
  readonly #answered = new Map<string, string>();
  #drawn = 0;

  constructor(database: string, seed: number) {
    this.#database = database;
    this.#seed = seed;
    const db = new Database(database, MIGRATIONS);
    const accounts = new Accounts(db, systemClock);
    this.#linkToken = accounts.mintProviderToken(accounts.add('host', { acceptUnattested: true }).id, 'host');
    const consumers = ['anna', 'ben'].map((name) => accounts.add(name, { acceptUnattested: true }).id);
    for (const id of consumers) new Ledger(db, systemClock).credit(id, CREDIT, 'test');
    this.#keys = Array.from(
      { length: CLIENTS },
      (_, index) => accounts.keys.create(consumers[index % consumers.length] ?? '', {}).secret,
    );
    db.close();
  }

  /** The next seeded number below 1. */
  #draw(): number {
    return seededNumbers(this.#seed * 100_003 + this.#drawn++, 1)[0] ?? 0;
  }

  async run(kills: number): Promise<KillReport> {
    const told: Kill[] = [];
    for (let kill = 0; kill < kills; kill++) told.push(await this.#killOnce());
    const last = await startCoordinator(this.#database);
    const { discrepancies, openHolds, accounts, requests } = auditBooks(this.#database);
    last.child.kill('SIGKILL');
    await last.ended;
    return {
      kills: told,
      answered: this.#answered.size,
      unpaid: this.#unpaid(),
      settled: requests,
      discrepancies: discrepancies.length,
      openHolds: openHolds.count,
      lost: accounts.reduce((sum, { balance }) => sum + balance, 0n) - 2n * CREDIT,
    };
  }

  async #killOnce(): Promise<Kill> {
    const { child, url, ended } = await startCoordinator(this.#database);
    const openAfterStart = auditBooks(this.#database).openHolds.count;
    const events = 1 + Math.floor(this.#draw() * MAX_EVENTS);
    const lateMs = this.#draw() * MAX_LATE_MS;
    let seen = 0;
    const count = () => {
      if (++seen === events) setTimeout(() => child.kill('SIGKILL'), lateMs);
    };
    await using _machine = await FakeMachine.dial({
      coordinatorUrl: url,
      linkToken: this.#linkToken,
      build: BUILD,
      rows: CLIENTS,
      identity: this.#identity,
      play: (request) => this.#play(request, count),
    });
    await Promise.all([ended, ...this.#keys.map((key, index) => this.#askUntilDead(url, key, index % 2 === 0, count))]);
    const { discrepancies, openHolds } = auditBooks(this.#database);
    return { events, discrepancies: discrepancies.length, openHolds: openHolds.count, openAfterStart };
  }

  /** Accepts, writes, and ends as the seed says: mostly well. */
  async #play(request: FakeRequest, count: () => void): Promise<void> {
    const turn = () => new Promise((resolve) => setImmediate(resolve));
    const pieces = Math.floor(this.#draw() * 4);
    const fails = this.#draw() < 0.15;
    request.accept();
    count();
    for (let piece = 0; piece < pieces; piece++) {
      await turn();
      request.write('word ');
      count();
    }
    await turn();
    if (fails) request.fail(500);
    else
      request.complete({
        prompt_tokens: Math.floor(this.#draw() * 9_000),
        completion_tokens: Math.floor(this.#draw() * 9_000),
      });
    count();
  }

  async #askUntilDead(url: string, key: string, stream: boolean, count: () => void): Promise<void> {
    const body = {
      model: 'tiny',
      messages: [{ role: 'user', content: 'Hello' }],
      max_tokens: 5_000,
      stream,
      stream_options: { include_usage: true },
    };
    for (;;) {
      try {
        const answer = await fetch(`${url}/v1/chat/completions`, {
          method: 'POST',
          headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
          body: JSON.stringify(body),
        });
        const text = await answer.text();
        count();
        const whole = answer.ok && (!stream || text.includes('data: [DONE]'));
        const tokens = /"prompt_tokens":(\d+),"completion_tokens":(\d+)/u.exec(text);
        if (whole) this.#answered.set(answer.headers.get('x-inference-job-id') ?? '', `${tokens?.[1]} ${tokens?.[2]}`);
      } catch {
        return; // it was killed
      }
    }
  }

  #unpaid(): number {
    const db = new Database(this.#database, MIGRATIONS);
    const ledger = new Ledger(db, systemClock);
    const wrong = [...this.#answered].filter(([jobId, tokens]) => {
      const row = ledger.usageOf(jobId);
      return `${row?.promptTokens} ${row?.completionTokens}` !== tokens;
    });
    db.close();
    return wrong.length;
  }
}

/** A coordinator in a process of its own, which costs little to start. */
async function startCoordinator(database: string) {
  const from = (path: string) => JSON.stringify(pathToFileURL(join(PACKAGE_ROOT, 'dist', path)).href);
  const program = `
    const { Coordinator } = await import(${from('coordinator/coordinator.js')});
    const { systemClock } = await import(${from('util/clock.js')});
    const { silentLog } = await import(${from('log.js')});
    const build = { id: '${BUILD}', displayName: 'Tiny', family: '', architecture: '', quantization: '', sizeBytes: 1,
      contextLength: 2048, maxOutputLength: 0, minRamGb: 1, files: [], source: '', capabilities: [], active: true, createdAt: 0,
      version: 'v1', description: '', runtimeParameters: {}, metadata: {} };
    const alias = { id: 'tiny', displayName: 'Tiny', desiredBuild: build.id, retiredBuilds: [] };
    const coordinator = await Coordinator.start({ database: process.argv[1], host: '127.0.0.1', port: 0,
      selfRouteDefault: 'none', readOwnerKey: () => undefined, version: '0', models: [{ build, alias }], clock: systemClock, log: silentLog() });
    console.log(coordinator.url);
  `;
  const child = spawn(process.execPath, ['--input-type=module', '-e', program, database], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = once(child, 'close');
  const [url] = (await Promise.race([once(createInterface(child.stdout), 'line'), ended])) as [string];
  return { child, url, ended };
}
