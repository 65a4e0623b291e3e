import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { environment, homeAt, type Home } from '../src/config.js';
import { saveLinkToken } from '../src/link/link-token.js';
import { readDiscovery } from '../src/service/discovery.js';
import { PACKAGE_ROOT } from '../src/util/version.js';
import { Child } from './child.js';

const START_TIMEOUT_MS = 60_000;
/** A coordinator that never answers: the machine's own requests are served meanwhile. */
const NO_COORDINATOR = 'http://127.0.0.1:9';

interface DaemonOrder {
  /** `local`: coordinator, sealing and engine. `linked`: the direct endpoint before the engine. */
  mode: 'local' | 'linked';
  /** Name → path. */
  models: Readonly<Record<string, string>>;
  rows: number;
  contextTokens: number;
  threads: number;
}

/** The daemon as its owner starts it, in a home of its own that goes with it. */
export class DaemonProcess {
  readonly #child: Child;
  readonly home: Home;
  readonly baseUrl: string;
  readonly apiKey: string;

  private constructor(child: Child, home: Home, { base_url, api_key }: { base_url: string; api_key: string }) {
    this.#child = child;
    this.home = home;
    this.baseUrl = base_url;
    this.apiKey = api_key;
  }

  static async start(order: DaemonOrder): Promise<DaemonProcess> {
    const home = homeAt(mkdtempSync(join(tmpdir(), 'darkbloom-bench-home-')));
    process.once('exit', () => rmSync(home.folder, { recursive: true, force: true }));
    writeFileSync(home.config, configOf(order));
    if (order.mode === 'linked') saveLinkToken(home.linkToken, NO_COORDINATOR, 'a link for measuring');
    const child = new Child(join(PACKAGE_ROOT, 'bin/darkbloom-provider'), ['start', '--foreground'], {
      PATH: environment['PATH'],
      HOME: home.folder,
      DARKBLOOM_PROVIDER_HOME: home.folder,
    });
    try {
      const look = () => Promise.resolve(readDiscovery(home.discovery));
      return new DaemonProcess(child, home, await child.until('the daemon serves', START_TIMEOUT_MS, look));
    } catch (error) {
      await child.stop();
      rmSync(home.folder, { recursive: true, force: true });
      throw error;
    }
  }

  get pid(): number {
    return this.#child.pid;
  }

  async stop(): Promise<void> {
    await this.#child.stop();
    rmSync(this.home.folder, { recursive: true, force: true });
  }
}

function configOf({ mode, models, rows, contextTokens, threads }: DaemonOrder): string {
  return [
    '[http]',
    'port = 0',
    ...(mode === 'linked' ? ['[coordinator]', `url = "${NO_COORDINATOR}"`] : []),
    '[provider]',
    'keep_awake = "never"',
    '[engine]',
    `slots = ${rows}`,
    `context_tokens = ${contextTokens}`,
    `threads = ${threads}`,
    '[log]',
    'level = "error"',
    '[models.files]',
    ...Object.entries(models).map(([name, path]) => `${name} = ${JSON.stringify(path)}`),
    '',
  ].join('\n');
}
