import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Environment } from '../config.js';
import { DarkbloomError } from '../errors.js';
import { PACKAGE_ROOT } from '../util/version.js';

export const AGENT_LABEL = 'io.darkbloom.provider-node';

/** From SIGTERM to SIGKILL, in seconds: `ExitTimeOut` of the template, longer than the drain. */
export const EXIT_TIMEOUT_S = 60;

/** What launchd's own file of the agent is called, in the log folder: early failures and crashes only. */
export const LAUNCHD_LOG_FILE = 'launchd.log';

/** For an agent outside a session on the screen, which launchd refuses without it. */
const EVERY_SESSION = `<key>LimitLoadToSessionType</key>
    <array>
      <string>Aqua</string>
      <string>Background</string>
    </array>`;

interface AgentValues {
  /** The named launcher, an absolute path. */
  launcher: string;
  /** The folder of Node.js. */
  nodeFolder: string;
  /** The home of this installation. */
  homeFolder: string;
  /** The home of the user. */
  userHome: string;
  logFolder: string;
  /** `screen`: the session on the screen, as every agent; `every`: also without one. */
  sessions: 'screen' | 'every';
}

export function agentPlistPath(userHome: string): string {
  return join(userHome, 'Library/LaunchAgents', `${AGENT_LABEL}.plist`);
}

export function agentTemplate(): string {
  return readFileSync(join(PACKAGE_ROOT, 'launchd', `${AGENT_LABEL}.plist`), 'utf8');
}

/** The agent's property list, from its template.
 *  @throws DarkbloomError `not_supported` for a path that no property list can hold. */
export function renderAgentPlist(template: string, values: AgentValues): string {
  const words: Readonly<Record<string, string>> = {
    LAUNCHER: escaped(values.launcher),
    NODE_FOLDER: escaped(values.nodeFolder),
    HOME_FOLDER: escaped(values.homeFolder),
    USER_HOME: escaped(values.userHome),
    LOG_FOLDER: escaped(values.logFolder),
    SESSIONS: values.sessions === 'every' ? EVERY_SESSION : '',
  };
  const filled = template.replace(/\{\{([A-Z_]+)\}\}/gu, (hole, name: string) => {
    const word = words[name];
    if (word === undefined) throw new TypeError(`The agent's template asks for ${hole}.`);
    return word;
  });
  return filled.replace(/^[ \t]+\n/gmu, '');
}

/** For the text of an element. Control characters cannot stand in XML at all. */
function escaped(text: string): string {
  if (/[\u0000-\u001f\u007f\ufffe\uffff]/u.test(text)) {
    throw new DarkbloomError(
      'not_supported',
      `launchd cannot start a service from a path like ${JSON.stringify(text)}.`,
    );
  }
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}

/** True in a process that launchd started as this agent. */
export function startedByLaunchd(env: Environment): boolean {
  return env['XPC_SERVICE_NAME'] === AGENT_LABEL;
}
