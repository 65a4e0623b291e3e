import { realpathSync } from 'node:fs';
import { homedir } from 'node:os';
import type { Home } from '../config.js';
import { DarkbloomError } from '../errors.js';
import { logFolderOf } from '../log.js';
import { systemCommands } from '../machine/commands.js';
import { Agent, type AgentOutcome } from '../service/agent.js';
import { stableNodePath } from '../service/launcher.js';
import { systemClock } from '../util/clock.js';
import { printDone } from './style.js';

/** The background service of this home; `undefined` on a machine that is not a Mac. */
export function agentHere(home: Home): Agent | undefined {
  if (process.platform !== 'darwin') return undefined;
  const major = Number(process.versions.node.split('.')[0]);
  return new Agent({
    commands: systemCommands,
    clock: systemClock,
    uid: process.getuid?.() ?? 0,
    homeFolder: home.folder,
    userHome: homedir(),
    logFolder: logFolderOf(process.platform, homedir(), home.folder),
    node: stableNodePath(process.execPath, major, resolved),
  });
}

function resolved(path: string): string | undefined {
  try {
    return realpathSync(path);
  } catch {
    return undefined;
  }
}

/** Prints what is so now.
 *  @throws DarkbloomError `not_supported` with the sentence, when launchd did not do what was asked. */
export function reportOutcome({ name, sentence }: AgentOutcome): void {
  if (name === 'failed' || name === 'failing' || name === 'switched_off')
    throw new DarkbloomError('not_supported', sentence);
  printDone(sentence);
}
