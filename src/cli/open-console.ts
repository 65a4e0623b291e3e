import { spawn } from 'node:child_process';
import { rmSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import type { Home, Settings } from '../config.js';
import { DarkbloomError, systemErrorCode } from '../errors.js';
import type { DiscoveryRecord } from '../service/discovery.js';
import { readFileIfPresent, writePrivateFile } from '../util/files.js';
import { callCoordinator } from './coordinator-client.js';
import { listenForStop } from './stopping.js';
import { print, printDone } from './style.js';

const LOOK_EVERY_MS = 500;

const CodeAnswer = z.object({ id: z.string(), code: z.string(), expires_in: z.number() });
const CodeState = z.object({ open: z.boolean() });

/**
 * Opens the console in the browser, signed in as the owner. Other users of this machine can read what a command is
 * started with, so the browser gets the path of a 0600 file that leads to the one-time address; the file goes as soon
 * as the code is used up.
 *
 * @throws DarkbloomError `not_supported` in linked mode, `not_logged_in`, `machine_offline` without a browser.
 */
export async function openConsole(home: Home, record: DiscoveryRecord, settings: Settings): Promise<void> {
  if (record.mode === 'linked') {
    throw new DarkbloomError(
      'not_supported',
      `This machine is linked to ${settings.coordinator.url ?? 'another coordinator'}: the console is there. ` +
        'On that machine run `darkbloom-provider local --open`, or open its address and sign in with its token.',
    );
  }
  const url = record.base_url.replace(/\/v1$/u, '');
  const token = readFileIfPresent(home.ownerToken)?.trim();
  if (token === undefined) {
    throw new DarkbloomError('not_logged_in', `${home.ownerToken} is missing. Restart the daemon: it is made anew.`);
  }
  const made = CodeAnswer.parse(await callCoordinator(url, { method: 'POST', path: '/pages/codes', token }));
  const stop = listenForStop();
  const stopped = new AbortController();
  void stop.asked.then(() => stopped.abort());
  try {
    writePrivateFile(home.consoleLink, redirectPage(`${url}/#code=${made.code}`));
    await startBrowser(home.consoleLink, url, home.ownerToken);
    print(`Opening ${url} in the browser …`);
    const used = await untilUsed(url, token, made, stopped.signal);
    if (used) printDone('Signed in.');
    else print(notOpened(url, home.ownerToken));
  } finally {
    rmSync(home.consoleLink, { force: true });
    stop[Symbol.dispose]();
  }
}

/** The address holds no character that HTML would read otherwise: scheme, host, port, and a base64url code. */
function redirectPage(address: string): string {
  return `<!doctype html>
<meta charset="utf-8">
<meta name="referrer" content="no-referrer">
<meta http-equiv="refresh" content="0; url=${address}">
<title>Darkbloom</title>
<p><a href="${address}">Open the console</a></p>
`;
}

/** What opens a file in the browser that the person chose. */
export function browserCommand(platform: NodeJS.Platform): string {
  return platform === 'darwin' ? '/usr/bin/open' : 'xdg-open';
}

/** Resolves once it runs; how it ends is not waited for, since some openers stay as long as the browser. */
async function startBrowser(file: string, url: string, ownerToken: string): Promise<void> {
  const child = spawn(browserCommand(process.platform), [file], { stdio: 'ignore', detached: true });
  try {
    await new Promise<void>((resolve, reject) => {
      child.once('spawn', resolve);
      child.once('error', reject);
    });
  } catch (cause) {
    if (systemErrorCode(cause) !== 'ENOENT') throw cause;
    throw new DarkbloomError('not_supported', `There is no browser to open here. ${notOpened(url, ownerToken)}`, {
      cause,
    });
  }
  child.unref();
}

function notOpened(url: string, ownerToken: string): string {
  return `If no page opened: open ${url} and sign in with the token in ${ownerToken}.`;
}

/** Whether a page signed in with the code before its time was over. */
async function untilUsed(
  url: string,
  token: string,
  { id, expires_in: lifeS }: z.infer<typeof CodeAnswer>,
  stopped: AbortSignal,
): Promise<boolean> {
  for (let waitedMs = 0; waitedMs < lifeS * 1_000 && !stopped.aborted; waitedMs += LOOK_EVERY_MS) {
    const { open } = CodeState.parse(await callCoordinator(url, { method: 'GET', path: `/pages/codes/${id}`, token }));
    if (!open) return true;
    await sleep(LOOK_EVERY_MS, undefined, { signal: stopped }).catch(() => undefined);
  }
  return false;
}
