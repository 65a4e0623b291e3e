import { z } from 'zod';
import { NOT_LINKED } from '../coordinator/trust.js';
import { notRunning, type ServiceHere } from './service-here.js';
import { whyNotConnected } from './why-not-connected.js';
import type { BlockedStatus, Status } from '../service/status.js';

/** The first failing link between this machine and a served request. Pure. */

/** A word for scripts. */
export const Cause = z.enum([
  'served',
  'not_running',
  'not_answering',
  'blocked',
  'port_taken',
  'not_linked',
  'paused',
  'draining',
  'coordinator_unreachable',
  'tls_failed',
  'not_a_coordinator',
  'not_routable',
  'not_trusted',
  'challenge_unanswered',
  'wrong_link_token',
  'not_accepted',
  'model_missing',
  'memory_too_small',
  'busy',
  'request_failed',
]);

export interface Finding {
  cause: z.infer<typeof Cause>;
  /** One sentence: what is so. */
  sentence: string;
  /** What to do; absent when nothing is wrong. */
  nextStep?: string;
}

type Model = Status['models'][number];

/** What came of a real request through the whole path. */
export type Canary =
  { answered: true; ms: number } | { answered: false; status: number; code: string; message: string };

const RESTART = '`darkbloom-provider restart`, or in the terminal of `start` Ctrl-C and start again';
const BY_ITSELF = 'the daemon looks again every few seconds';

/** `unanswered`: a daemon holds the control socket and says nothing. */
type Told = Status | BlockedStatus | 'unanswered' | undefined;

/** What can be told without sending a request; `undefined`: send one.
 *  @param service what launchd says of the background service, where there is one */
export function whyOf(status: Told, service: ServiceHere | undefined): Finding | undefined {
  if (status === undefined) return { cause: 'not_running', ...notRunning(service) };
  if (status === 'unanswered') {
    return {
      cause: 'not_answering',
      sentence: 'A daemon runs in this home but does not answer.',
      nextStep: `Wait a moment and ask again; if it stays silent, restart it: ${RESTART}.`,
    };
  }
  switch (status.state) {
    case 'blocked':
      return whyBlocked(status);
    case 'paused':
      return {
        cause: 'paused',
        sentence: 'The daemon is paused by its owner.',
        nextStep: 'Let it serve again: darkbloom-provider resume',
      };
    case 'draining':
    case 'stopped': {
      const { running } = status.requests;
      const left = running === 0 ? '' : ` (${running} running)`;
      return {
        cause: 'draining',
        sentence: `The daemon is stopping: it finishes what runs${left} and takes nothing new.`,
        nextStep: 'Wait until it has stopped, then: darkbloom-provider start',
      };
    }
    case 'starting':
    case 'serving':
      return status.connection.state === 'online' ? whyNotRoutable(status) : whyNotConnected(status.connection);
    default:
      return status satisfies never;
  }
}

function whyBlocked({ reason: { code, message } }: BlockedStatus): Finding {
  const sentence = `The daemon serves nothing until its owner mends something: ${firstSentence(message)}`;
  switch (code) {
    case 'port_in_use':
      return {
        cause: 'port_taken',
        sentence,
        nextStep: `End the other program, or take another port: darkbloom-provider config set http.port N; ${BY_ITSELF}.`,
      };
    case 'model_corrupt': {
      const [key] = /^models\.files\.[\w.-]+(?=:)/u.exec(message) ?? [];
      const remove = key === undefined ? 'download or adopt it again' : `darkbloom-provider config unset ${key}`;
      return {
        cause: 'model_missing',
        sentence,
        nextStep: `Put the file in its place, or do without it: ${remove}; ${BY_ITSELF}.`,
      };
    }
    case 'not_logged_in':
      return { cause: 'not_linked', sentence, nextStep: `${rest(message)} Then ${BY_ITSELF}.`.trimStart() };
    default:
      return { cause: 'blocked', sentence, nextStep: `${rest(message)} Mend it; ${BY_ITSELF}.`.trimStart() };
  }
}

/** Our errors say in their first sentence what is so, and then what to do. */
function firstSentence(message: string): string {
  return /^.*?\.(?= [A-Z]|$)/su.exec(message)?.[0] ?? message;
}

function rest(message: string): string {
  return message.slice(firstSentence(message).length).trim();
}

function whyNotRoutable({ trust, connection, base_url }: Status): Finding | undefined {
  const { coordinator_url: url } = connection;
  if (trust?.runtime_verified === false) {
    return {
      cause: 'not_routable',
      sentence: `${url} does not route to this runtime (${(trust.mismatches ?? []).join('; ') || 'no reason given'}).`,
      nextStep:
        `Nothing can be done about that here. Programs on this machine are served all the same at ${base_url} ` +
        '(darkbloom-provider local), and so is a coordinator of your own (darkbloom-provider coordinator).',
    };
  }
  // a request says whether the token of this home is unknown, or only the one that the daemon came with
  if (trust?.status === 'untrusted' && trust.reason !== NOT_LINKED) {
    return {
      cause: 'not_trusted',
      sentence: `${url} does not trust this machine (${trust.reason ?? 'no reason given'}).`,
      nextStep: `Connect anew: ${RESTART}. If that does not help, ask the owner of the coordinator.`,
    };
  }
  return undefined;
}

/** The model to ask for: the named one, else a loaded one, else the smallest; or why there is none. */
export function modelToAsk({ models }: Status, name: string | undefined): Model | Finding {
  const gone = models.filter(({ missing_file, state }) => missing_file !== undefined && state !== 'ready');
  const named = models.find(({ alias, build }) => alias === name || build === name);
  if (name !== undefined && named === undefined) {
    return {
      cause: 'model_missing',
      sentence: `This machine has no model ${name}.`,
      nextStep: 'See what it has (darkbloom-provider models), or get it: darkbloom-provider models download',
    };
  }
  const [missing] = named === undefined ? gone : gone.filter((model) => model === named);
  if (missing !== undefined) {
    return {
      cause: 'model_missing',
      sentence: `The file of the model ${missing.alias} is gone: ${missing.missing_file ?? ''}`,
      nextStep: `Put it back; or do without the model: take it out of the settings if it is named there, then ${RESTART}.`,
    };
  }
  const [first] = [...models].sort(
    (a, b) => Number(b.state === 'ready') - Number(a.state === 'ready') || a.memory_bytes - b.memory_bytes,
  );
  return (
    named ??
    first ?? {
      cause: 'model_missing',
      sentence: 'This machine has no model at all.',
      nextStep: 'Choose one: darkbloom-provider models',
    }
  );
}

/** What a real request for a model says. */
export function whyOfCanary(canary: Canary, { connection }: Status, model: Model): Finding {
  const { coordinator_url: url } = connection;
  if (canary.answered) {
    return {
      cause: 'served',
      sentence: `Nothing is wrong: a request for ${model.alias} was answered in ${canary.ms} ms, through the whole path.`,
    };
  }
  const { status, code, message } = canary;
  if (status === 0) {
    return {
      cause: 'request_failed',
      sentence: `This machine is connected to ${url}, but a request there got no answer (${message}).`,
      nextStep: 'Ask again; if it stays so, look at the coordinator, or at a proxy between.',
    };
  }
  if (status === 401) {
    return {
      cause: 'wrong_link_token',
      sentence: `${url} does not know the link token of this machine.`,
      nextStep: `Link it again: darkbloom-provider link ${url}; then ${RESTART}.`,
    };
  }
  if (/insufficient memory/u.test(message)) {
    const { context_tokens: context, slots } = model;
    return {
      cause: 'memory_too_small',
      sentence: message,
      nextStep:
        `Lower its context (now ${context} tokens): darkbloom-provider config set engine.context_tokens N; or what it ` +
        `runs at once (now ${slots}): darkbloom-provider config set engine.slots N; then ${RESTART}. ` +
        'Or take a smaller model: darkbloom-provider models plan',
    };
  }
  if (code === 'model_not_found' || status === 404) {
    return {
      cause: 'model_missing',
      sentence: `The coordinator does not have the model ${model.alias}: ${message}`,
      nextStep: 'See what this machine has: darkbloom-provider models',
    };
  }
  if (code === 'machine_busy' || code === 'rate_limit_exceeded') {
    return {
      cause: 'busy',
      sentence: `All is well, but there is too much to do: ${message}`,
      nextStep: 'Ask again in a minute; darkbloom-provider status shows what runs.',
    };
  }
  // Those words are our coordinator's; the code is the same for every reason not to route.
  if (code === 'model_not_loaded' && /challenge/u.test(message)) {
    return {
      cause: 'challenge_unanswered',
      sentence: `${url} does not route to this machine, because no good answer to its challenges came lately.`,
      nextStep: `Connect anew: ${RESTART}. If it comes back, something on the way keeps the answers.`,
    };
  }
  if (code === 'no_linked_machine' || code === 'machine_offline') {
    return {
      cause: 'not_accepted',
      sentence: `${url} knows the link token of this home, but not this daemon as a machine of that account.`,
      nextStep: `Restart it, so that it shows the token: ${RESTART}.`,
    };
  }
  if (code === 'model_not_loaded') {
    return {
      cause: 'not_accepted',
      sentence: `${url} does not route to this machine now: ${message}`,
      nextStep: `Wait half a minute; if it stays so, connect anew: ${RESTART}.`,
    };
  }
  return {
    cause: 'request_failed',
    sentence: `A request came through and failed (${status}, ${code}): ${message}`,
    nextStep: 'The log says more: darkbloom-provider logs, or the terminal of start.',
  };
}
