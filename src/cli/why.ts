import { z } from 'zod';
import type { BlockedStatus, Status } from '../service/status.js';

/** The first failing link between this machine and a served request. Pure. */

/** A word for scripts. */
export const Cause = z.enum([
  'served',
  'not_running',
  'blocked',
  'paused',
  'draining',
  'coordinator_unreachable',
  'tls_failed',
  'not_a_coordinator',
  'not_routable',
  'wrong_link_token',
  'not_accepted',
  'model_missing',
  'memory_too_small',
  'request_failed',
]);

export interface Finding {
  cause: z.infer<typeof Cause>;
  /** One sentence: what is so. */
  sentence: string;
  /** What to do; absent when nothing is wrong. */
  nextStep?: string;
}

/** What came of a real request through the whole path. */
export type Canary =
  { answered: true; ms: number; model: string } | { answered: false; status: number; code: string; message: string };

/** What can be told without sending a request; `undefined`: send one. */
export function whyOf(status: Status | BlockedStatus | undefined): Finding | undefined {
  if (status === undefined) {
    return {
      cause: 'not_running',
      sentence: 'No daemon runs in this home.',
      nextStep: 'Start it: darkbloom-provider start',
    };
  }
  switch (status.state) {
    case 'blocked':
      return {
        cause: 'blocked',
        sentence: `The daemon serves nothing until its owner mends something: ${status.reason.message}`,
        nextStep: 'Mend it; the daemon looks again every few seconds.',
      };
    case 'paused':
      return {
        cause: 'paused',
        sentence: 'The daemon is paused by its owner.',
        nextStep: 'Let it serve again: darkbloom-provider resume',
      };
    case 'draining':
    case 'stopped':
      return {
        cause: 'draining',
        sentence: 'The daemon is stopping: it finishes what runs and takes nothing new.',
        nextStep: 'Wait until it has stopped, then: darkbloom-provider start',
      };
    case 'starting':
    case 'serving':
      return status.connection.state === 'online' ? whyNotRoutable(status) : whyNotConnected(status);
    default:
      return status satisfies never;
  }
}

function whyNotConnected({ connection }: Status): Finding {
  const { coordinator_url: url, last_loss: loss = '' } = connection;
  if (/certificate|self.signed|TLS|SSL|altname/iu.test(loss)) {
    return {
      cause: 'tls_failed',
      sentence: `The connection to ${url} is not trusted: ${loss}.`,
      nextStep: 'Check the address, the date of this machine, and who issued the certificate.',
    };
  }
  if (/Unexpected server response: (?!5)/u.test(loss)) {
    return {
      cause: 'not_a_coordinator',
      sentence: `${url} answers, but not like a coordinator (${loss}).`,
      nextStep: 'Check the address: darkbloom-provider config get coordinator.url',
    };
  }
  return {
    cause: 'coordinator_unreachable',
    sentence: `The coordinator ${url} cannot be reached${loss === '' ? '' : ` (${loss})`}.`,
    nextStep: 'Start the coordinator or the network; this machine tries again by itself.',
  };
}

function whyNotRoutable({ trust, connection }: Status): Finding | undefined {
  const { coordinator_url: url } = connection;
  if (trust?.runtime_verified === false) {
    return {
      cause: 'not_routable',
      sentence: `${url} does not route to this runtime (${(trust.mismatches ?? []).join('; ') || 'no reason given'}).`,
      nextStep: 'Nothing can be done here; the direct endpoint and a coordinator of your own serve you all the same.',
    };
  }
  if (trust?.status === 'untrusted') {
    return {
      cause: 'not_accepted',
      sentence: `${url} does not trust this machine (${trust.reason ?? 'no reason given'}).`,
      nextStep: 'Ask the owner of the coordinator.',
    };
  }
  return undefined;
}

/** What a real request says. */
export function whyOfCanary(canary: Canary): Finding {
  if (canary.answered) {
    return {
      cause: 'served',
      sentence: `Nothing is wrong: a request for ${canary.model} was answered in ${canary.ms} ms, through the whole path.`,
    };
  }
  const { status, code, message } = canary;
  if (status === 401) {
    return {
      cause: 'wrong_link_token',
      sentence: 'The coordinator does not know the link token of this machine.',
      nextStep: 'Link it again: darkbloom-provider link URL',
    };
  }
  if (/insufficient memory/u.test(message)) {
    return {
      cause: 'memory_too_small',
      sentence: message,
      nextStep:
        'Take a smaller model (darkbloom-provider models plan), or fewer engine.slots or engine.context_tokens.',
    };
  }
  if (code === 'model_not_found' || status === 404) {
    return {
      cause: 'model_missing',
      sentence: `The coordinator has no such model on this machine: ${message}`,
      nextStep: 'See what this machine has: darkbloom-provider models',
    };
  }
  if (code === 'model_not_loaded' || code === 'machine_offline' || code === 'no_linked_machine') {
    return {
      cause: 'not_accepted',
      sentence: `The coordinator does not route to this machine yet: ${message}`,
      nextStep: 'Wait half a minute; if it stays so, link it again: darkbloom-provider link URL',
    };
  }
  return {
    cause: 'request_failed',
    sentence: `A request came through and failed (${status}, ${code}): ${message}`,
    nextStep: 'The log says more: darkbloom-provider logs, or the terminal of start.',
  };
}
