import { randomUUID } from 'node:crypto';
import { Database } from '../../src/database.js';
import { environment, loadSettings, type Values } from '../../src/config.js';
import { MIGRATIONS } from '../../src/coordinator/migrations.js';
import { Ledger } from '../../src/coordinator/ledger.js';
import { Daemon } from '../../src/daemon.js';
import { saveLinkToken } from '../../src/link/link-token.js';
import { silentLog, type Log } from '../../src/log.js';
import { systemClock } from '../../src/util/clock.js';
import { readFileIfPresent } from '../../src/util/files.js';
import { TemporaryHome } from './temporary-home.js';

/** Links a daemon to a coordinator of a test. */
export const LINK_TOKEN = 'eigeninference-pt-of-a-test';

/** A real daemon in this process, in local mode unless told otherwise, in a home of its own. */
export class RunningDaemon implements AsyncDisposable {
  readonly daemon: Daemon;
  readonly #home: TemporaryHome;

  private constructor(daemon: Daemon, home: TemporaryHome) {
    this.daemon = daemon;
    this.#home = home;
  }

  static async start(
    settings: Values = {},
    log: Log = silentLog(),
    linkToken: string = LINK_TOKEN,
  ): Promise<RunningDaemon> {
    const home = new TemporaryHome();
    const { 'coordinator.url': url } = settings;
    if (typeof url === 'string') saveLinkToken(home.home.linkToken, url, linkToken);
    const resolved = loadSettings(home.home, {}, { 'http.port': 0, ...settings });
    return new RunningDaemon(
      await Daemon.start({ home: home.home, settings: resolved, env: environment, log, stopAsked: () => undefined }),
      home,
    );
  }

  get home() {
    return this.#home.home;
  }

  /** `http://127.0.0.1:PORT/v1` */
  get baseUrl(): string {
    return this.daemon.record.base_url;
  }

  /** `http://127.0.0.1:PORT` */
  get url(): string {
    return this.baseUrl.replace(/\/v1$/u, '');
  }

  get ownerKey(): string {
    return this.daemon.record.api_key;
  }

  get ownerToken(): string {
    return readFileIfPresent(this.home.ownerToken)?.trim() ?? '';
  }

  /** The coordinator's books, read through a connection of their own. */
  readLedger<T>(read: (ledger: Ledger) => T): T {
    const database = new Database(this.home.database, MIGRATIONS);
    try {
      return read(new Ledger(database, systemClock));
    } finally {
      database.close();
    }
  }

  /** How many rows the books have of what a request may leave. */
  countRows(): Record<'usage' | 'ledger' | 'open_holds', number> {
    const database = new Database(this.home.database, MIGRATIONS);
    const count = (table: string) => Number(database.get(`SELECT count(*) AS count FROM ${table}`)?.['count']);
    try {
      return { usage: count('usage'), ledger: count('ledger'), open_holds: count('open_holds') };
    } finally {
      database.close();
    }
  }

  /** One JSON call. */
  async call(
    method: string,
    path: string,
    options: { token?: string; body?: unknown; headers?: Record<string, string> } = {},
  ) {
    const response = await fetch(`${this.url}${path}`, {
      method,
      headers: {
        ...(options.token === undefined ? {} : { authorization: `Bearer ${options.token}` }),
        ...(options.body === undefined ? {} : { 'content-type': 'application/json' }),
        ...options.headers,
      },
      ...(options.body === undefined
        ? {}
        : { body: typeof options.body === 'string' ? options.body : JSON.stringify(options.body) }),
    });
    const text = await response.text();
    return { status: response.status, headers: response.headers, text, json: parseIfJson(text) };
  }

  /** Another person's account with an API key and money. */
  async addAccount(options: {
    usd: number;
    acceptUnattested: boolean;
  }): Promise<{ id: string; key: string; loginToken: string }> {
    const name = `guest-${randomUUID().slice(0, 8)}`;
    const token = this.ownerToken;
    const body = { name, accept_unattested: options.acceptUnattested };
    const made = await this.call('POST', '/v1/admin/accounts', { token, body });
    const { account, login_token: loginToken } = made.json as { account: { id: string }; login_token: string };
    if (options.usd > 0) {
      await this.call('POST', '/v1/admin/credit', { token, body: { account: name, amount_usd: options.usd } });
    }
    const key = await this.call('POST', '/v1/keys', { token: loginToken });
    return { id: account.id, key: (key.json as { key: string }).key, loginToken };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.daemon.close();
    this.#home[Symbol.dispose]();
  }
}

function parseIfJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
