import { existsSync, statfsSync } from 'node:fs';
import {
  environment,
  fileValues,
  loadSettings,
  readConfigText,
  type Home,
  type Settings,
  type Values,
} from '../../config.js';
import { DarkbloomError } from '../../errors.js';
import { systemCommands } from '../../machine/commands.js';
import { readHardware } from '../../machine/hardware.js';
import { readLinkToken } from '../../link/link-token.js';
import { gib, inWords } from '../../util/byte-words.js';
import { readCatalog, type CatalogModel } from '../../models/catalog.js';
import { DOWNLOAD_LIMITS } from '../../models/download.js';
import { readGguf } from '../../models/gguf.js';
import { readPlaces } from '../../models/places.js';
import { refuseTakenPort } from '../../http/server.js';
import { answeringDaemon, refuseSecondDaemon } from '../../service/discovery.js';
import { makePrivateFolder, writePrivateFile } from '../../util/files.js';
import { tomlString } from '../../util/toml-edit.js';
import { VERSION } from '../../util/version.js';
import { adoptHere, candidatesHere } from '../commands/models/adopt.js';
import { fetchModel } from '../commands/models/download.js';
import { hostedBuild } from '../commands/models/here.js';
import { limitHere } from '../commands/models/plan.js';
import { runChecks } from '../doctor.js';
import { changeSetting } from '../settings-file.js';
import { DEFAULT_WIDTH, screenWidth, wrapped } from '../screen.js';
import { print, printDone, printFact, style } from '../style.js';
import { printTable } from '../table.js';
import { adoption, downloads, proposalsFor, recommendedOf, type Demo, type Proposal, type Room } from './proposals.js';
import { askBackground, askKeepLoaded, askModel } from './questions.js';

/** What flags of `start` answer; what they leave open is asked at a terminal and has a default elsewhere. */
export interface Answers {
  /** A name of the catalogue or of another application's file; `false`: none. */
  model?: string | false;
  keepLoaded?: boolean;
  /** In the background rather than in this terminal. */
  service?: boolean;
  /** The default is the answer to every question. */
  yes?: true;
}

interface SetUp {
  /** Alias of the model that the first request goes to. */
  model: string;
  inBackground: boolean;
}

/** What must be right before anything is asked or fetched. */
const CHECKS_BEFORE = ['Node.js', 'home'];
const DEMO: Demo = { kind: 'demo', name: 'darkbloom-tiny-chat' };

const NEW_FILE = `# Settings of darkbloom-provider, read at each start.
# \`darkbloom-provider config show\` lists all of them with their meaning.
`;

/** No settings: nobody has decided anything on this machine yet. Nor has who only linked it, as long as a person can be
 *  asked. */
export function isFirstRun(home: Home): boolean {
  return !existsSync(home.config) || (canAsk() && isOnlyLinked(home));
}

function isOnlyLinked(home: Home): boolean {
  const text = readConfigText(home.config);
  if (text.startsWith(NEW_FILE)) return false;
  const { 'coordinator.url': url, ...others } = fileValues(text, home.config);
  const isLinked = typeof url === 'string' && readLinkToken(home.linkToken, url) !== undefined;
  return isLinked && Object.keys(others).length === 0 && readPlaces(readCatalog(), home.folder).ready.length === 0;
}

function canAsk(): boolean {
  return process.stdin.isTTY === true && process.stdout.isTTY === true;
}

/**
 * Takes a machine from nothing to a model that can be served: checks, asks, fetches, and writes the settings last, so
 * that one which was broken off begins again and goes on with what was fetched.
 *
 * @param flags settings of this run alone
 * @param canServe whether this system has a background service
 * @throws DarkbloomError `cancelled` when the person leaves, `config_invalid`, `already_running` or `port_in_use` when a
 *   check fails,
 *   `insufficient_memory` for a named model that does not fit, and as `downloadBuild`.
 */
export async function setUp(home: Home, flags: Values, answers: Answers, canServe: boolean): Promise<SetUp> {
  const settings = loadSettings(home, environment, flags);
  const asks = canAsk() && answers.yes !== true;
  await check(home, settings, canServe);
  print(`${style.bold('Darkbloom provider')} ${VERSION}: setting up this machine`);
  const catalog = readCatalog();
  const room = await readRoom(home, settings);
  await printMachine(room);

  const proposal = await chooseModel(answers, catalog, room, asks);
  const keepLoaded = answers.keepLoaded ?? (asks && (await mayStayLoaded(proposal)));
  const inBackground = canServe && (answers.service ?? (asks ? await askBackground() : true));
  if (!asks) printDefaults(proposal, { keepLoaded, inBackground, canServe });

  const model = await fetchProposal(proposal, home, settings, catalog);
  writeSettings(home, proposal, keptNames(settings, model, keepLoaded));
  return { model, inBackground };
}

/** A service that runs here has the port and takes the changes; beside a daemon in a terminal no other one can start. */
async function check(home: Home, { http }: Settings, canServe: boolean): Promise<void> {
  if (!canServe) await refuseSecondDaemon(home.discovery);
  if ((await answeringDaemon(home.discovery)) === undefined) await refuseTakenPort(http);
  const results = await runChecks(home, () => undefined, CHECKS_BEFORE);
  const bad = results.find(({ verdict }) => verdict === 'bad');
  if (bad === undefined) return;
  throw new DarkbloomError('config_invalid', [`${bad.name}: ${bad.detail}.`, bad.fix].filter(Boolean).join(' '));
}

async function readRoom(home: Home, settings: Settings): Promise<Room> {
  const { engine } = settings;
  const { bavail, bsize } = statfsSync(home.folder);
  return {
    limitBytes: await limitHere(settings),
    diskBytes: Math.max(0, bavail * bsize - DOWNLOAD_LIMITS.keepFreeBytes),
    rows: engine.slots,
    contextTokens: engine.context_tokens,
    kvType: engine.kv_type,
  };
}

async function printMachine({ limitBytes, diskBytes }: Room): Promise<void> {
  const { chip_name: chip, memory_gb: memory } = await readHardware(systemCommands, process.platform);
  printFact('machine', `${chip}, ${memory} GB memory, ${inWords(diskBytes)} of disk to use`);
  printFact('limit', `models may take ${gib(limitBytes)} GiB of memory together`);
  print();
}

async function chooseModel(
  { model, yes }: Answers,
  catalog: readonly CatalogModel[],
  room: Room,
  asks: boolean,
): Promise<Proposal> {
  if (model === false || model === DEMO.name) return DEMO;
  if (model !== undefined) return named(model, catalog, room);
  if (!asks && yes !== true) return DEMO; // gigabytes are fetched for someone who said so
  const { candidates } = await candidatesHere(catalog);
  const here = await Promise.all(
    candidates.map(async (candidate) => ({ candidate, shape: (await readGguf(candidate.paths[0] ?? '')).shape })),
  );
  const proposals = proposalsFor(catalog, here, room);
  if (proposals.length === 0) {
    print('No model of the catalogue fits memory and disk: `darkbloom-provider models plan` shows what is missing.');
  }
  const recommended = recommendedOf(proposals, room) ?? DEMO;
  if (!asks) return recommended;
  printSums(proposals, room);
  return askModel([...proposals, DEMO], recommended);
}

/** @throws DarkbloomError `model_not_found`, `insufficient_memory`. */
async function named(name: string, catalog: readonly CatalogModel[], room: Room): Promise<Proposal> {
  const { candidates } = await candidatesHere(catalog);
  const candidate = candidates.find((each) => each.name === name);
  const proposal =
    candidate === undefined
      ? downloadNamed(name, catalog, room)
      : adoption(candidate, (await readGguf(candidate.paths[0] ?? '')).shape, room);
  if (proposal.fits !== 'no') return proposal;
  const { neededBytes: needed } = proposal.sum;
  throw new DarkbloomError(
    'insufficient_memory',
    `${name} needs ${gib(needed)} GiB, models may take ${gib(room.limitBytes)} GiB here. ` +
      '`darkbloom-provider models plan` shows what fits.',
  );
}

function downloadNamed(name: string, catalog: readonly CatalogModel[], room: Room) {
  const { id } = hostedBuild(name, catalog);
  const found = downloads(catalog, room).find(({ build }) => build === id);
  if (found === undefined) throw new TypeError(`${id} is in the catalogue and not in its plan.`);
  return found;
}

/** How each proposal fits, as a table of GiB. */
function printSums(proposals: readonly Exclude<Proposal, Demo>[], room: Room): void {
  if (proposals.length === 0) return;
  const rows = proposals.map(({ name, quantization, sum, fits, rows: slots, contextTokens }) => [
    name,
    quantization,
    gib(sum.weightBytes),
    gib(sum.kvBytes),
    gib(sum.computeBytes),
    gib(sum.reserveBytes),
    gib(sum.neededBytes),
    fits === 'smaller' ? `with ${slots} × ${contextTokens} tokens` : '',
  ]);
  print(`What fits, in GiB of memory (sum: at most ${gib(room.limitBytes)}):`);
  printTable({ head: ['model', 'build', 'weights', 'KV cache', 'compute', 'reserve', 'sum', ''], rows });
  const { rows: slots, contextTokens } = room;
  const words =
    `weights: the model itself; KV cache: what ${slots} requests at once of ${contextTokens} tokens each remember; ` +
    'compute: room to work in; reserve: stays free.';
  for (const line of wrapped(words, screenWidth(DEFAULT_WIDTH))) print(style.dim(line));
  print();
}

/** The demo model is loaded in no time: nothing to ask. */
function mayStayLoaded(proposal: Proposal): Promise<boolean> | false {
  return proposal.kind !== 'demo' && askKeepLoaded(proposal.sum.neededBytes);
}

interface Decided {
  keepLoaded: boolean;
  inBackground: boolean;
  canServe: boolean;
}

/** Where nothing was asked, what is done and which flag changes it. */
function printDefaults(proposal: Proposal, { keepLoaded, inBackground, canServe }: Decided): void {
  const kept = keepLoaded
    ? 'always loaded (--no-keep-loaded: only while needed)'
    : 'while needed (--keep-loaded: always)';
  const place = inBackground ? 'background service (--foreground: this terminal)' : 'this terminal';
  const which = proposal.kind === 'demo' ? `${proposal.name}, the demo model (--model NAME: another)` : proposal.name;
  printFact('model', which);
  printFact('in memory', kept);
  printFact('runs in', canServe ? place : `${place} (the background service is macOS's)`);
  print();
}

/** Brings the model here. Returns its alias. */
async function fetchProposal(
  proposal: Proposal,
  home: Home,
  settings: Settings,
  catalog: readonly CatalogModel[],
): Promise<string> {
  switch (proposal.kind) {
    case 'demo':
      return proposal.name;
    case 'adopt': {
      const { alias } = await adoptHere(proposal.candidate, home, settings, catalog);
      printDone(`${alias} is used where it lies`);
      return alias;
    }
    case 'download':
      await fetchModel(hostedBuild(proposal.build, catalog), home, settings);
      printDone(`${proposal.name} is here, its hash as the catalogue says`);
      return proposal.name;
    default:
      return proposal satisfies never;
  }
}

/** The models that stay loaded when this one does or does not. */
function keptNames({ models }: Settings, model: string, keepLoaded: boolean): string[] {
  const others = models.keep_loaded.filter((name) => name !== model);
  return keepLoaded ? [...others, model] : others;
}

/** Even with nothing to set there is a file then: this machine is not new any more. */
function writeSettings(home: Home, proposal: Proposal, kept: readonly string[]): void {
  if (isFirstRun(home)) {
    makePrivateFolder(home.folder);
    writePrivateFile(home.config, `${NEW_FILE}${readConfigText(home.config)}`);
  }
  const list = kept.length === 0 ? undefined : `[${kept.map(tomlString).join(', ')}]`;
  changeSetting(home, { table: 'models', name: 'keep_loaded' }, list);
  if (proposal.kind !== 'demo' && proposal.fits === 'smaller') {
    changeSetting(home, { table: 'engine', name: 'slots' }, String(proposal.rows));
    changeSetting(home, { table: 'engine', name: 'context_tokens' }, String(proposal.contextTokens));
  }
}
