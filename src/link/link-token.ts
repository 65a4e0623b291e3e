import { readFileIfPresent, writePrivateFile } from '../util/files.js';

/** The token that links this machine to one coordinator, and which one: it is shown to no other. Two lines, 0600. */
export function saveLinkToken(path: string, coordinatorUrl: string, token: string): void {
  writePrivateFile(path, `${token}\n${coordinatorUrl}\n`);
}

/** The token for this coordinator; `undefined` when there is none, or one for another coordinator. */
export function readLinkToken(path: string, coordinatorUrl: string): string | undefined {
  const [token, url] = (readFileIfPresent(path) ?? '').split('\n');
  return token !== undefined && token !== '' && url === coordinatorUrl ? token : undefined;
}
