import type { CommandResult } from '../machine/commands.js';

export type Verb = 'print' | 'bootstrap' | 'bootout' | 'enable' | 'disable' | 'kickstart' | 'kill';

/**
 * What an exit of launchctl asks for. `not_loaded`: the label is not there, which is what a bootout wants.
 * `try_again`: something is still under way, or the code means too many things. `mend_file`: the property list has the
 * wrong owner or mode. `no_session`: the user is not logged in on the screen.
 */
export type Action = 'done' | 'not_loaded' | 'try_again' | 'enable_first' | 'mend_file' | 'no_session' | 'give_up';

export interface Exit {
  action: Action;
  /** What it means and what the person can do, for an action that did not help. */
  sentence: string;
}

const START_AGAIN = 'Run `darkbloom-provider start` again in a minute.';
const BAD_FILE = 'launchd does not accept the property list of the service.';
const LOG_IN =
  'launchd has no session on the screen for this user; an SSH connection alone is not one. Log in on the screen of ' +
  'this Mac (a Mac without one: switch on automatic login), or run `darkbloom-provider start --foreground`.';

/** By exit code: launchctl ends with the number that it prints. */
const EXITS: Readonly<Record<number, Exit>> = {
  0: { action: 'done', sentence: 'launchd has done it.' },
  1: {
    action: 'give_up',
    sentence: 'macOS does not let this program control launchd (1). Run the command in the Terminal app, without sudo.',
  },
  3: { action: 'not_loaded', sentence: 'The service is not loaded (3).' },
  5: { action: 'try_again', sentence: `launchd refused without saying why (5). ${START_AGAIN}` },
  17: { action: 'done', sentence: 'The service is loaded already (17).' },
  36: { action: 'try_again', sentence: `launchd is still taking the service down (36). ${START_AGAIN}` },
  37: { action: 'try_again', sentence: `launchd is still taking the service down (37). ${START_AGAIN}` },
  109: { action: 'give_up', sentence: `${BAD_FILE} It is not valid (109).` },
  110: { action: 'give_up', sentence: `${BAD_FILE} Its label is missing or not valid (110).` },
  111: { action: 'give_up', sentence: `${BAD_FILE} Its program is missing or not valid (111).` },
  112: { action: 'no_session', sentence: LOG_IN },
  113: { action: 'not_loaded', sentence: 'The service is not loaded (113).' },
  119: {
    action: 'enable_first',
    sentence: 'The service is switched off in launchd (119). Run `darkbloom-provider start`.',
  },
  122: {
    action: 'mend_file',
    sentence:
      'The property list of the service must belong to you and be writable for nobody else (122). ' +
      'Check ~/Library/LaunchAgents, also the folder itself.',
  },
  124: {
    action: 'give_up',
    sentence: 'You are being logged out (124). Run `darkbloom-provider start` after the next login.',
  },
  125: { action: 'no_session', sentence: LOG_IN },
  133: {
    action: 'give_up',
    sentence: 'launchd met several errors at once (133). `darkbloom-provider doctor` looks into them.',
  },
  134: {
    action: 'give_up',
    sentence:
      'This kind of session cannot run the service (134). Log in on the screen of this Mac, then run ' +
      '`darkbloom-provider start`.',
  },
  150: {
    action: 'give_up',
    sentence: 'System Integrity Protection forbids it: the service is one of macOS itself (150).',
  },
  155: {
    action: 'give_up',
    sentence:
      'macOS has the program in quarantine (155). Release it with `xattr -dr com.apple.quarantine` and the folder of ' +
      'the package, then run `darkbloom-provider start`.',
  },
};

/** What to do after a call of launchctl. The code decides; the text is only passed on where nobody knows the code. */
export function exitOf(verb: Verb, { code, stderr }: Pick<CommandResult, 'code' | 'stderr'>): Exit {
  if (code === 'missing') return { action: 'give_up', sentence: 'This system has no launchctl: it is not a Mac.' };
  if (code === 'timeout') return { action: 'try_again', sentence: `launchctl did not answer. ${START_AGAIN}` };
  if (verb === 'kickstart' && code === 37) return { action: 'done', sentence: 'launchd is starting it already (37).' };
  return EXITS[code] ?? { action: 'give_up', sentence: `launchctl ${verb} failed: ${saidBy(stderr, code)}.` };
}

/** What launchctl printed, without the words around it and without its advice to try as root, which helps no agent. */
function saidBy(stderr: string, code: number): string {
  const first = stderr.split('\n').find((line) => line.trim() !== '' && !line.startsWith('Bad request'));
  return first?.replace(/^.*?(?=\b\d+: )/u, '').trim() ?? `exit code ${code}`;
}
