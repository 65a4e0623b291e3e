/**
 * Whether a coordinator trusts a connected machine, from its answers to challenges and from the seals of its answers:
 *
 *   trusted ──3 unanswered──▶ silent ──passed──▶ trusted
 *      │                        └──6 unanswered──▶ (its connection is closed)
 *      └──3 wrong, or a broken seal──▶ untrusted, until it connects anew
 *
 * "In a row" means: since the last challenge that was passed. Pure.
 */
export type Trust =
  | { name: 'trusted' | 'silent'; wrong: number; unanswered: number }
  | { name: 'untrusted'; reason: string; unanswered: number };

export type TrustEvent = { type: 'passed' | 'wrong' | 'unanswered' } | { type: 'seal_broken' };

/** Wrong answers in a row that cost a machine its trust. */
const MAX_WRONG = 3;
/** Unanswered challenges in a row after which a machine gets no request. */
const MAX_UNANSWERED = 3;
/** Unanswered challenges in a row after which its connection is closed. */
const MAX_SILENCE = 6;
/** What a machine reads whose link token is unknown or was revoked while it was away. */
export const NOT_LINKED = 'its link is not valid here (any more): unlink it, then link it anew';

export const NEW_TRUST: Trust = { name: 'trusted', wrong: 0, unanswered: 0 };

/** The only place where trust changes. */
export function nextTrust(trust: Trust, event: TrustEvent): Trust {
  if (trust.name === 'untrusted') {
    if (event.type === 'unanswered') return { ...trust, unanswered: trust.unanswered + 1 };
    return event.type === 'passed' ? { ...trust, unanswered: 0 } : trust;
  }
  switch (event.type) {
    case 'passed':
      return NEW_TRUST;
    case 'wrong': {
      const wrong = trust.wrong + 1;
      if (wrong < MAX_WRONG) return { ...trust, wrong };
      return untrusted(trust, `${MAX_WRONG} answers in a row to its challenges were wrong`);
    }
    case 'unanswered': {
      const unanswered = trust.unanswered + 1;
      return { ...trust, name: unanswered < MAX_UNANSWERED ? 'trusted' : 'silent', unanswered };
    }
    case 'seal_broken':
      return untrusted(trust, 'an answer was not sealed as promised');
    default:
      return event satisfies never;
  }
}

function untrusted({ unanswered }: Trust, reason: string): Trust {
  return { name: 'untrusted', reason, unanswered };
}

/** Why the machine gets no request, for people; `undefined` when it is trusted. */
export function mistrustOf(trust: Trust): string | undefined {
  if (trust.name === 'untrusted') return trust.reason;
  return trust.name === 'silent' ? `${MAX_UNANSWERED} challenges in a row were not answered` : undefined;
}

/** Whether its connection should end: nobody seems to be there who could answer. */
export function isGone(trust: Trust): boolean {
  return trust.unanswered >= MAX_SILENCE;
}
