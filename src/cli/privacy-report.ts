import { statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { homeFolders, type Home } from '../config.js';
import { capabilityReasons } from '../machine/posture.js';
import { HEARTBEAT_PERIOD_MS } from '../protocol/limits.js';
import { PrivacyCapabilities } from '../protocol/provider-messages.js';
import type { NodePrivacy } from '../service/node-privacy.js';
import { MAX_DAYS } from '../service/usage-rows.js';
import { isLoopback } from '../util/loopback.js';

/** What this node does with prompts, and with what else is somebody's own, in plain words. */

export function promptSentences({ coordinator_url: url, serve_others: others, host, tls }: NodePrivacy): string[] {
  return [
    'Prompts and answers are in memory only: never in a file, a log, an error, an argument or an environment variable. ' +
      'Each model runs in a child process; text passes to it over a pipe.',
    "After an answer its tokens stay in that process's cache, so that the next request of the same conversation begins " +
      'sooner; only requests of the same account find them there. They go when room is needed or the model is unloaded.',
    url === undefined
      ? 'This machine is its own coordinator: it reads a request, seals it, and sends it to a machine that can answer: ' +
        'this one, or another that was linked to it.'
      : `Requests from ${url} come sealed for this machine, to a key that lives as long as its process; answers go back sealed. ` +
        'Whoever runs that coordinator can read them too: it is the one that seals them. ' +
        "Requests to this machine's own address are answered here and go nowhere else.",
    others
      ? 'It serves other accounts of the coordinator too. Their prompts are readable, with some effort, for whoever ' +
        'controls this machine.'
      : 'It serves its owner alone: the coordinator is told to send no requests of other accounts.',
    ...(url?.startsWith('http://') === true && !isLoopback(new URL(url).hostname)
      ? [`The connection to ${url} has no TLS: requests stay sealed, but the link token crosses the network in clear.`]
      : []),
    ...(isLoopback(host) || tls === true
      ? []
      : [`The HTTP port is bound to ${host}. There is no TLS: requests from the network cross it in clear.`]),
  ];
}

export const NOT_PREVENTED = [
  'The system may write memory to swap, to a hibernation image or, after a crash, to a report.',
  'An administrator, or another program of the same user, can read the memory of this process.',
] as const;

/** A file or folder of this program, and what is in it. */
export interface KeptPlace {
  path: string;
  holds: string;
  present: boolean;
  /** `0600`; absent where nothing is there. */
  mode?: string;
}

const HOLDS: Readonly<Record<Exclude<keyof Home, 'folder'>, string>> = {
  config: 'settings',
  ownerToken: "login token of this home's coordinator's owner",
  ownerKey: 'API key of that owner, for programs on this machine',
  selfLinkToken: 'token that links this machine to the coordinator in this home',
  linkToken: 'token that links this machine to a coordinator elsewhere, and its address',
  localToken: 'key for programs on this machine, when linked',
  controlSocket: 'socket of the running daemon, for these commands; holds nothing',
  discovery: 'address and key of the running daemon, for programs on this machine',
  consoleLink: 'one-time address of the console; only while `local --open` waits for the browser',
  usage: `the newest ${MAX_DAYS} days: requests and tokens by day and model; no contents, no names`,
  usageSetAside: 'a damaged usage.json, as it was found',
  database:
    "books of this home's coordinator: accounts, hashes of keys, balances; of each request time, account, model, " +
    'token counts and price, no contents',
  databaseSetAside: 'those books as they were before `coordinator restore`',
};

const FOLDERS_HOLD: Readonly<Record<(typeof homeFolders)[number], string>> = {
  models: 'model files that were downloaded, and notes on those of other applications',
  logs: 'log of the background service where there is no system folder for it',
  bin: 'launcher of the background service',
};

/** Every place that this program ever writes to; `around` is what lies outside its home. */
export function keptPlaces(home: Home, around: { logFolder: string; agentFiles: readonly string[] }): KeptPlace[] {
  const { folder, ...files } = home;
  const inHome = Object.entries(files).flatMap(([name, path]) => [
    { path, holds: HOLDS[name as keyof typeof files] },
    ...(path === home.database || path === home.databaseSetAside ? journalsOf(path) : []),
  ]);
  const folders = homeFolders.map((name) => ({ path: join(folder, name), holds: FOLDERS_HOLD[name] }));
  const known = new Set([...inHome, ...folders].map(({ path }) => path));
  const isBelow = (path: string) => [...known].some((above) => path === above || path.startsWith(`${above}/`));
  const outside = [
    { path: around.logFolder, holds: 'log of the background service: times, models, errors in our words; no contents' },
    ...around.agentFiles.map((path) => ({ path, holds: 'start of the background service' })),
  ].filter(({ path }) => !isBelow(path));
  return [{ path: folder, holds: 'the home of this program' }, ...inHome, ...folders, ...outside].map(withMode);
}

function journalsOf(database: string) {
  return ['-wal', '-shm'].map((end) => ({ path: `${database}${end}`, holds: `part of ${basename(database)}` }));
}

function withMode(place: { path: string; holds: string }): KeptPlace {
  const stat = statSync(place.path, { throwIfNoEntry: false });
  if (stat === undefined) return { ...place, present: false };
  return { ...place, present: true, mode: (stat.mode & 0o777).toString(8).padStart(4, '0') };
}

/** One way out of this machine. */
export interface WayOut {
  to: string;
  when: string;
  what: string;
}

/** `downloadHosts`: where models come from, the first one first. */
export function waysOut({ coordinator_url: url }: NodePrivacy, downloadHosts: readonly string[]): WayOut[] {
  return [
    ...(url === undefined ? [TO_LINKED_MACHINES] : toCoordinator(url)),
    {
      to: `${downloadHosts.join(', ')}, and where they send us on`,
      when: 'only while `models download` runs',
      what: 'the names of the files of that model',
    },
  ];
}

const TO_LINKED_MACHINES: WayOut = {
  to: 'a machine that was linked to this one',
  when: 'for a request that it answers',
  what: 'the sealed request',
};

function toCoordinator(url: string): WayOut[] {
  return [
    {
      to: url,
      when: 'when it connects',
      what:
        'chip, memory and cores; names, sizes and hashes of the models; version of this program, its public key and ' +
        'link token; the capabilities below; whether it serves others',
    },
    {
      to: url,
      when: `every ${HEARTBEAT_PERIOD_MS / 1_000} s`,
      what: 'load, heat and memory; which models are loaded and how fast; requests and tokens since the start',
    },
    {
      to: url,
      when: 'for each request it sent',
      what: 'the sealed answer and its token counts, or an error without contents',
    },
    {
      to: url,
      when: 'when `link`, `unlink` or `why` run',
      what: 'a code or the link token; `why` also asks a model of yours one word',
    },
    {
      to: url,
      when: 'when it challenges',
      what:
        'system integrity protection, sealed system, RDMA, virtual machine, hashes of the models, and a signature by a ' +
        'key that lives as long as the process',
    },
  ];
}

/** A capability as `register` tells it. */
export interface ReportedCapability {
  name: string;
  /** Absent: not known, and not told. */
  reported?: boolean;
  /** What it says, or why it is not so. */
  meaning: string;
}

export function reportedCapabilities(capabilities: PrivacyCapabilities): ReportedCapability[] {
  const names = Object.keys(PrivacyCapabilities.shape) as (keyof PrivacyCapabilities)[];
  return names.map((name) => {
    const reported = capabilities[name];
    if (reported === undefined) return { name, meaning: 'The system does not tell.' };
    const { description = '' } = PrivacyCapabilities.shape[name];
    return { name, reported, meaning: reported ? sentence(description) : capabilityReasons[name] };
  });
}

/** `no HTTP hop …; true here: there is none` → `No HTTP hop ….` */
function sentence(description: string): string {
  const [said = ''] = description.split(';');
  return `${said.charAt(0).toUpperCase()}${said.slice(1)}.`;
}

/** What to do to be rid of it. */
export interface Deletion {
  command: string;
  does: string;
}

export function deletions(home: Home, { coordinator_url: url }: NodePrivacy): Deletion[] {
  return [
    { command: 'darkbloom-provider uninstall --dry-run', does: 'lists all that is here; without --dry-run removes it' },
    { command: `darkbloom-provider stop; rm "${home.usage}"`, does: 'forgets the usage journal' },
    ...(url === undefined
      ? []
      : [
          {
            command: 'darkbloom-provider unlink',
            does: 'gives the link back; what that coordinator has recorded stays there',
          },
        ]),
  ];
}
