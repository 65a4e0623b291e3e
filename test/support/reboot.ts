import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { z } from 'zod';
import type { Home } from '../../src/config.js';
import { logFolderOf } from '../../src/log.js';
import { AGENT_LABEL, agentPlistPath } from '../../src/service/agent-plist.js';
import { Agent } from '../../src/service/agent.js';
import { ScriptedLaunchd, UID } from '../service/scripted-launchd.js';
import { readXmlPlist } from '../service/xml-plist.js';
import { ManualClock } from './manual-clock.js';
import { descendantsOf, untilGone } from './processes.js';
import { turned } from './turned.js';

const Plist = z.object({
  ProgramArguments: z.tuple([z.string()], z.string()),
  WorkingDirectory: z.string(),
  EnvironmentVariables: z.record(z.string(), z.string()),
  StandardOutPath: z.string(),
  StandardErrorPath: z.string(),
});

/** What `start` leaves for launchd: the property list and the launcher. Only launchd itself is played. */
export async function installAgent(home: Home, userHome: string): Promise<string> {
  const clock = new ManualClock();
  const agent = new Agent({
    commands: new ScriptedLaunchd(clock),
    clock,
    uid: UID,
    node: process.execPath,
    homeFolder: home.folder,
    userHome,
    logFolder: logFolderOf(process.platform, userHome, home.folder),
  });
  await turned(clock, agent.start());
  return agentPlistPath(userHome);
}

/** The agent's process as launchd starts it after a login: what the property list says, the label, and nothing else. */
export class LaunchedAgent implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #ended: Promise<unknown>;

  constructor(plist: string) {
    const { ProgramArguments, WorkingDirectory, EnvironmentVariables, StandardOutPath, StandardErrorPath } =
      Plist.parse(readXmlPlist(readFileSync(plist, 'utf8')));
    const [program, ...args] = ProgramArguments;
    const out = openForAppending(StandardOutPath);
    const err = openForAppending(StandardErrorPath);
    this.#child = spawn(program, args, {
      cwd: WorkingDirectory,
      env: { ...EnvironmentVariables, XPC_SERVICE_NAME: AGENT_LABEL },
      stdio: ['ignore', out, err],
      detached: true, // no terminal, and no process group of ours
    });
    this.#ended = once(this.#child, 'exit');
    closeSync(out);
    closeSync(err);
  }

  /** The power goes: nobody is asked, nothing is written any more. */
  async killAll(): Promise<void> {
    const { pid } = this.#child;
    if (pid === undefined || this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const all = [pid, ...descendantsOf(pid)];
    for (const each of all) process.kill(each, 'SIGKILL');
    await this.#ended;
    await untilGone(all);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.killAll();
  }
}

function openForAppending(path: string): number {
  mkdirSync(dirname(path), { recursive: true });
  return openSync(path, 'a');
}
