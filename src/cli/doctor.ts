import { accessSync, constants, statfsSync } from 'node:fs';
import { z } from 'zod';
import { environment, loadSettings, type Home } from '../config.js';
import { poolOptionsOf } from '../engine/pool-settings.js';
import { ModelPool } from '../engine/pool.js';
import { DarkbloomError, toFailure } from '../errors.js';
import { refuseTakenPort } from '../http/server.js';
import { GREEDY, PLAIN } from '../inference/types.js';
import { silentLog } from '../log.js';
import { systemCommands } from '../machine/commands.js';
import { readMemory } from '../machine/memory.js';
import { readPosture } from '../machine/posture.js';
import { inWords } from '../util/byte-words.js';
import { readCatalog } from '../models/catalog.js';
import { readPlaces } from '../models/places.js';
import { installedModels } from '../models/store.js';
import { answeringDaemon } from '../service/discovery.js';
import { systemClock } from '../util/clock.js';
import { makePrivateFolder } from '../util/files.js';
import { gte } from '../util/versions.js';
import { askStatusIfRunning } from './control-client.js';
import { serviceHere, serviceVerdict } from './service-here.js';

/** Checks that do the real thing, each with a bound in time and, when it fails, with what to do. */

const CHECK_TIMEOUT_MS = 60_000;
const OLDEST_NODE = '20.19.0';
const LOW_DISK_BYTES = 5e9;

export const CheckResult = z.strictObject({
  name: z.string().describe('What was checked'),
  verdict: z.enum(['good', 'warning', 'bad']).describe('`warning`: it works, but something is not as it should be'),
  detail: z.string().describe('What was found'),
  fix: z.string().optional().describe('What to do; absent when it is good, or when the detail says it'),
});
export type CheckResult = z.infer<typeof CheckResult>;

type Outcome = Omit<CheckResult, 'name'>;
type Check = (home: Home) => Promise<Outcome> | Outcome;

const CHECKS: Readonly<Record<string, Check>> = {
  'Node.js': checkNode,
  home: checkHome,
  settings: checkSettings,
  port: checkPort,
  service: checkService,
  disk: checkDisk,
  models: checkModels,
  privacy: checkPrivacy,
  'a token': checkToken,
};

/** Runs one check after the other, all or those of these names; `done` hears each result as it comes. */
export async function runChecks(
  home: Home,
  done: (result: CheckResult) => void,
  names: readonly string[] = Object.keys(CHECKS),
): Promise<CheckResult[]> {
  const results: CheckResult[] = [];
  for (const [name, check] of Object.entries(CHECKS).filter(([each]) => names.includes(each))) {
    const result = { name, ...(await bounded(check, home)) };
    done(result);
    results.push(result);
  }
  return results;
}

async function bounded(check: Check, home: Home): Promise<Outcome> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<Outcome>((resolve) => {
    const detail = `no result within ${CHECK_TIMEOUT_MS / 1_000} s`;
    timer = setTimeout(
      () => resolve({ verdict: 'bad', detail, fix: 'Try again when the machine is less busy.' }),
      CHECK_TIMEOUT_MS,
    );
  });
  try {
    return await Promise.race([check(home), late]);
  } catch (error) {
    return { verdict: 'bad', detail: toFailure(error).message }; // our errors end with the next step
  } finally {
    clearTimeout(timer);
  }
}

function good(detail: string): Outcome {
  return { verdict: 'good', detail };
}

function checkNode(): Outcome {
  const { node } = process.versions;
  if (!gte(node, OLDEST_NODE))
    return { verdict: 'bad', detail: `version ${node}`, fix: `Install Node.js ${OLDEST_NODE} or later.` };
  if (process.platform === 'darwin' && process.arch !== 'arm64') {
    const fix = 'Install the Apple Silicon build of Node.js: this one runs under Rosetta and finds no Metal.';
    return { verdict: 'bad', detail: `version ${node} for ${process.arch}`, fix };
  }
  return good(`version ${node} for ${process.arch}`);
}

function checkHome(home: Home): Outcome {
  makePrivateFolder(home.folder);
  accessSync(home.folder, constants.R_OK | constants.W_OK);
  return good(home.folder);
}

function checkSettings(home: Home): Outcome {
  const settings = loadSettings(home, environment, {});
  const { url } = settings.coordinator;
  return good(url === undefined ? 'local mode: this machine is its own coordinator' : `linked to ${url}`);
}

async function checkPort(home: Home): Promise<Outcome> {
  const { host, port } = loadSettings(home, environment, {}).http;
  const running = await runningHere(home);
  if (running !== undefined) return running;
  try {
    await refuseTakenPort({ host, port });
    return good(`${port} is free`);
  } catch (error) {
    const { code, message } = toFailure(error);
    if (code !== 'port_in_use') return { verdict: 'bad', detail: message };
    const fix = 'Stop the other program, or choose another port: darkbloom-provider config set http.port N';
    return { verdict: 'bad', detail: `${port} of ${host} is in use`, fix };
  }
}

/** What the daemon of this home says of its port; a coordinator alone has no control socket and is asked over HTTP. */
async function runningHere(home: Home): Promise<Outcome | undefined> {
  const status = await askStatusIfRunning(home);
  if (status?.state === 'blocked') {
    return { verdict: 'bad', detail: `a daemon runs and serves nothing: ${status.reason.message}` };
  }
  if (status !== undefined) return good(`a daemon answers on ${status.base_url}`);
  const record = await answeringDaemon(home.discovery);
  return record === undefined ? undefined : good(`a daemon answers on ${record.base_url}`);
}

async function checkService(home: Home): Promise<Outcome> {
  const service = await serviceHere(home);
  return service === undefined
    ? good("the background service is macOS's: `start` serves in a terminal")
    : serviceVerdict(service);
}

function checkDisk(home: Home): Outcome {
  const { bavail, bsize } = statfsSync(home.folder);
  const free = bavail * bsize;
  if (free >= LOW_DISK_BYTES) return good(`${inWords(free)} free`);
  return {
    verdict: 'warning',
    detail: `${inWords(free)} free`,
    fix: 'Most models need more: make room before a download.',
  };
}

async function checkModels(home: Home): Promise<Outcome> {
  const catalog = readCatalog();
  const models = await installedModels(catalog, loadSettings(home, environment, {}), home.folder);
  const { refused } = readPlaces(catalog, home.folder);
  const [first] = refused;
  if (first !== undefined)
    return { verdict: 'bad', detail: first.reason, fix: `Or forget it: darkbloom-provider models remove ${first.id}` };
  const broken = models.filter(({ templateRenderOk }) => !templateRenderOk).map(({ alias }) => alias);
  if (broken.length === 0) return good(models.map(({ alias }) => alias).join(', '));
  const fix = 'Take another build of it: no request is sent to a model whose template fails.';
  return { verdict: 'bad', detail: `the chat template of ${broken.join(', ')} does not render`, fix };
}

async function checkPrivacy(): Promise<Outcome> {
  const { capabilities } = await readPosture(systemCommands, process.platform, environment);
  const { core_dumps_disabled: noDumps, env_scrubbed: clean } = capabilities;
  if (noDumps && clean) return good('no core dumps, clean environment');
  const detail = noDumps
    ? 'the environment has a variable that loads foreign code'
    : 'a crash could write memory to disk';
  return { verdict: 'warning', detail, fix: 'Start with the command darkbloom-provider, not with node.' };
}

/** Loads the smallest model in a process of its own, as the daemon does, and lets it write one token. */
async function checkToken(home: Home): Promise<Outcome> {
  const settings = loadSettings(home, environment, {});
  const models = await installedModels(readCatalog(), settings, home.folder);
  const [smallest] = [...models].sort((a, b) => a.sizeBytes - b.sizeBytes);
  if (smallest === undefined) throw new DarkbloomError('model_not_found', 'This machine has no model.');
  const memory = await readMemory(systemCommands, process.platform);
  const pool = new ModelPool([smallest], {
    ...poolOptionsOf(settings, memory, environment),
    rows: 1,
    keepLoaded: [],
    clock: systemClock,
    log: silentLog(),
  });
  const begun = performance.now();
  try {
    const request = {
      model: smallest.id,
      messages: [{ role: 'user' as const, content: 'ping' }],
      sampling: GREEDY,
      stop: [],
      ...PLAIN,
      maxTokens: 1,
      owner: true,
    };
    for await (const event of pool.generate(request, AbortSignal.timeout(CHECK_TIMEOUT_MS))) {
      if (event.type === 'done')
        return good(`${smallest.alias} loaded and wrote one in ${Math.round(performance.now() - begun)} ms`);
    }
    return {
      verdict: 'bad',
      detail: `${smallest.alias} wrote nothing`,
      fix: 'Run it again; if it stays so, the log says why.',
    };
  } finally {
    await pool.close();
  }
}
