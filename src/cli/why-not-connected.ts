import type { Status } from '../service/status.js';
import type { Finding } from './why.js';

/** What a failed connection said → what is so and what helps. The first that fits. */
const LOSSES: readonly (readonly [RegExp, Finding['cause'], (url: string, loss: string) => [string, string]])[] = [
  [
    /altnames/iu,
    'tls_failed',
    (url, loss) => {
      const [, name] = /DNS:([^,\s]+)/u.exec(loss) ?? [];
      const better = name === undefined ? 'ADDRESS' : new URL(url).href.replace(new URL(url).hostname, name);
      return [
        `The certificate of ${url} is for another name (${loss}).`,
        `Link to the name that it is for: darkbloom-provider link ${better.replace(/\/$/u, '')}`,
      ];
    },
  ],
  [
    /certificate (?:has expired|is not yet valid)/iu,
    'tls_failed',
    (url, loss) => [
      `The certificate of ${url} is not valid at this time (${loss}).`,
      'Check the date of this machine; if it is right, the coordinator needs a new certificate.',
    ],
  ],
  [
    /wrong version number|packet length too long/iu,
    'tls_failed',
    (url) => [
      `${url} does not speak TLS.`,
      `If it is meant to be so, link to it without: darkbloom-provider link ${url.replace(/^https/u, 'http')}`,
    ],
  ],
  [
    /certificate|self.signed|issuer|TLS|SSL/iu,
    'tls_failed',
    (url, loss) => [
      `The certificate of ${url} is not trusted by this machine (${loss}).`,
      'Give the coordinator one of a known issuer; or, in a terminal, name the file of its issuer: ' +
        'NODE_EXTRA_CA_CERTS=FILE darkbloom-provider start --foreground',
    ],
  ],
  [
    /Unexpected server response: (?!5)/u,
    'not_a_coordinator',
    (url, loss) => [
      `${url} answers, but not like a coordinator (${loss}).`,
      'Check the address: darkbloom-provider config get coordinator.url',
    ],
  ],
  [
    /ENOTFOUND|EAI_AGAIN/u,
    'coordinator_unreachable',
    (url, loss) => [
      `The coordinator ${url} cannot be reached, because its name leads nowhere (${loss}).`,
      'Check the network and the name; this machine tries again by itself.',
    ],
  ],
  [
    /ECONNREFUSED/u,
    'coordinator_unreachable',
    (url, loss) => [
      `The coordinator ${url} cannot be reached, because nothing listens there (${loss}).`,
      'Start it on its machine (darkbloom-provider coordinator); this machine tries again by itself.',
    ],
  ],
];

/** Why a daemon is not connected to its coordinator. */
export function whyNotConnected({ coordinator_url: url, last_loss }: Status['connection']): Finding {
  const loss = (last_loss ?? '').replace(/\s+/gu, ' ').trim();
  for (const [pattern, cause, tell] of LOSSES) {
    if (!pattern.test(loss)) continue;
    const [sentence, nextStep] = tell(url, loss);
    return { cause, sentence, nextStep };
  }
  return {
    cause: 'coordinator_unreachable',
    sentence:
      loss === ''
        ? `The coordinator ${url} has not answered yet.`
        : `The coordinator ${url} cannot be reached (${loss}).`,
    nextStep: 'Check the coordinator and the network; this machine tries again by itself.',
  };
}
