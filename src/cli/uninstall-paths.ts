import { homedir } from 'node:os';
import { homeEntries, type Home } from '../config.js';
import { logFolderOf } from '../log.js';
import { asidesOf } from '../util/files.js';

/** All that this program ever made, there or not, and what it was writing when it was killed. Folders are removed with what
 *  is in them.
 *  @param agentFiles of the background service, where there is one
 *  @param keepData leaves the home, but for what the service has in it */
export function uninstallPaths(home: Home, agentFiles: readonly string[], keepData: boolean): string[] {
  const around = [...agentFiles, logFolderOf(process.platform, homedir(), home.folder)];
  const isInHome = (path: string) => path.startsWith(`${home.folder}/`);
  const paths = keepData ? around : [...around.filter((path) => !isInHome(path)), ...homeEntries(home)];
  return [...paths, ...paths.flatMap(asidesOf)];
}
