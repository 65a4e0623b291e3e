import { homedir } from 'node:os';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { environment, loadSettings, type Home, type Settings, type Values } from '../config.js';
import { Daemon } from '../daemon.js';
import { toFailure, type DarkbloomError } from '../errors.js';
import { createLog, createServiceLog, logFolderOf } from '../log.js';
import { openControl, type Control, type ControlAnswers } from '../service/control.js';
import { trimLaunchdLog } from '../service/log-files.js';
import { STATUS_SCHEMA_VERSION, type BlockedStatus } from '../service/status.js';
import { makePrivateFolder } from '../util/files.js';
import { VERSION } from '../util/version.js';
import { warnAboutNetwork } from './network-warning.js';
import { sendFirstRequest } from './setup/first-request.js';
import { listenForStop, type StopSignals } from './stopping.js';
import { print, printFact, runningRequests, style } from './style.js';

/** A blocked service looks again so often whether its owner mended what was wrong. */
const TRY_AGAIN_MS = 5_000;

const QUIET_LEVEL = 'warn';

interface Occasion {
  /** Said once it serves. */
  hint?: string | undefined;
  /** The model of a machine that was just set up: a first request goes to it. */
  firstModel?: string | undefined;
}

/** In the terminal, until Ctrl-C. Errors end the command. */
export async function runInTerminal(home: Home, flags: Values, { hint, firstModel }: Occasion): Promise<void> {
  const settings = loadSettings(home, environment, flags);
  // a person who sets a machine up reads what is said to them
  const log = createLog(firstModel === undefined ? settings.log.level : QUIET_LEVEL, process.stderr);
  const stop = listenForStop();
  warnAboutNetwork(settings.http);
  const daemon = await Daemon.start({ home, settings, env: environment, log, stopAsked: stop.ask });

  try {
    printDaemon(daemon, settings, home);
    if (hint !== undefined) print(hint);
    if (firstModel !== undefined) await firstRequestUnlessStopped(daemon, firstModel, stop);
    log.level = settings.log.level;
    print('Ready. `darkbloom-provider local` prints the key and examples.');
    print('Ctrl-C stops after running requests.');

    await stop.asked;
    if (daemon.requestsRunning > 0) {
      print(`Stopping after ${runningRequests(daemon.requestsRunning)}; Ctrl-C again stops now.`);
    }
    await daemon.drain(stop.force);
  } finally {
    await daemon.close();
  }
  print('Stopped.');
}

function printDaemon({ record, models }: Daemon, { coordinator }: Settings, home: Home): void {
  print(`${style.bold('Darkbloom provider')} ${VERSION}`);
  const linked = `linked to ${coordinator.url ?? ''}`;
  printFact('mode', record.mode === 'local' ? 'local: this machine is its own coordinator' : linked);
  printFact('models', models.map(({ alias }) => alias).join(', '));
  printFact('address', record.base_url);
  printFact('home', home.folder);
}

async function firstRequestUnlessStopped(daemon: Daemon, model: string, stop: StopSignals): Promise<void> {
  const stopped = new AbortController();
  void stop.asked.then(() => stopped.abort());
  try {
    await sendFirstRequest(daemon.record, model, stopped.signal);
  } catch (error) {
    if (!stopped.signal.aborted) throw error;
  }
}

/**
 * As launchd's agent: logs go to files, and what the owner must mend does not end the process. It stays up, says over
 * the control socket why it serves nothing, and tries again by itself.
 */
export async function runAsService(home: Home, flags: Values): Promise<void> {
  const folder = logFolderOf(process.platform, homedir(), home.folder);
  makePrivateFolder(folder);
  trimLaunchdLog(folder);
  print(`${new Date().toISOString()} darkbloom-provider ${VERSION}, process ${process.pid}`);
  const stop = listenForStop();
  const stopped = new AbortController();
  void stop.asked.then(() => stopped.abort());
  const log = createServiceLog('info', folder);
  const startedAt = new Date().toISOString();
  let told: string | undefined; // the log would be full of a reason that stays
  let control: Control | undefined; // open from the first failure on, so that it is always there to be asked
  try {
    while (!stopped.signal.aborted) {
      try {
        const settings = loadSettings(home, environment, flags);
        log.level = settings.log.level;
        const daemon = await Daemon.start({ home, settings, env: environment, log, stopAsked: stop.ask, control });
        control = undefined;
        if (told !== undefined) log.info('not blocked any more');
        await stop.asked;
        await daemon.drain(stop.force);
        await daemon.close();
      } catch (error) {
        const failure = toFailure(error);
        if (failure.exitCode !== OPERATOR_EXIT) throw error;
        const { code, message: reason } = failure;
        if (reason !== told) log.error({ code, reason }, 'blocked');
        told = reason;
        const answers = blockedAnswers(blockedStatus(failure, startedAt, home), stop);
        control?.answer(answers);
        control ??= await openIfPossible({ path: home.controlSocket, answers, log });
        await sleep(TRY_AGAIN_MS, undefined, { signal: stopped.signal }).catch(() => undefined); // a stop ends the wait
      }
    }
  } finally {
    await control?.close();
  }
}

/** Exit code of errors that the owner of the machine must mend. */
const OPERATOR_EXIT = 65;

function blockedStatus({ code, message }: DarkbloomError, startedAt: string, home: Home): BlockedStatus {
  return {
    schema_version: STATUS_SCHEMA_VERSION,
    version: VERSION,
    pid: process.pid,
    started_at: startedAt,
    state: 'blocked',
    home: home.folder,
    reason: { code, message },
  };
}

function blockedAnswers(status: BlockedStatus, { ask }: StopSignals): ControlAnswers {
  const still = () => Promise.resolve(); // nothing to pause: nothing is served
  return { status: () => status, pause: still, resume: still, stop: ask };
}

/** Where another daemon has the socket, or none can be, the wait goes on without one. */
async function openIfPossible(options: Parameters<typeof openControl>[0]): Promise<Control | undefined> {
  makePrivateFolder(dirname(options.path));
  try {
    return await openControl(options);
  } catch (error) {
    options.log.warn({ reason: toFailure(error).message }, 'no control socket');
    return undefined;
  }
}
