import { randomBytes } from 'node:crypto';
import type { Log } from '../log.js';
import type { CoordinatorMessage } from '../protocol/coordinator-messages.js';
import { CHALLENGE_TIMEOUT_MS } from '../protocol/limits.js';
import type { AttestationResponse } from '../protocol/provider-messages.js';
import type { Clock } from '../util/clock.js';
import { isGone, mistrustOf, NEW_TRUST, nextTrust, type Trust, type TrustEvent } from './trust.js';

interface ChallengesOptions {
  /** Id of the connection, for the log. */
  provider: string;
  /** The machine's, as it registered it. */
  publicKey: string | undefined;
  send: (message: CoordinatorMessage) => void;
  /** Ends the connection: nobody seems to be there. */
  hangUp: (reason: string) => void;
  /** The machine may have gained or lost trust. */
  changed: () => void;
  clock: Clock;
  log: Log;
}

const NONCE_BYTES = 32;
/** Challenges that are over, whose late answers count for nothing. */
const MAX_OVER = 10;
/** What a machine reads that does not answer any more (docs/protocol.md, order on a connection). */
const UNRESPONSIVE = 'attestation unresponsive — reconnect required';

/** The challenges of one connection, at most one of them open, and the trust that the machine has by its answers. */
export class Challenges {
  readonly #options: ChallengesOptions;
  #open: { nonce: string; timeout: Disposable } | undefined;
  /** Nonces of challenges that are over, the newest last. */
  readonly #over: string[] = [];
  #trust: Trust = NEW_TRUST;
  #passedAt: number | undefined;

  constructor(options: ChallengesOptions) {
    this.#options = options;
  }

  /** Why the machine is not trusted, for people; `undefined`: it is. */
  get mistrust(): string | undefined {
    return mistrustOf(this.#trust);
  }

  /** When the last one was passed, ms since the Unix epoch; `undefined`: none yet, or a wrong answer came after it. */
  get passedAt(): number | undefined {
    return this.#passedAt;
  }

  /** Sends one. One that is still open counts as unanswered. */
  send(): void {
    const { provider, clock, send, log } = this.#options;
    const unanswered = () => {
      this.#end();
      log.warn({ provider }, 'a challenge was not answered');
      this.#judge({ type: 'unanswered' });
    };
    if (this.#open !== undefined) unanswered();
    const nonce = randomBytes(NONCE_BYTES).toString('base64');
    this.#open = { nonce, timeout: clock.after(CHALLENGE_TIMEOUT_MS, unanswered) };
    send({ type: 'attestation_challenge', nonce, timestamp: new Date(clock.now()).toISOString() });
  }

  /** Nonce and key must be ours and theirs, and a signature must be there. What the machine says of its own security is
   *  recorded and shown, never required: nobody is pushed to say what is not true. */
  answered({ nonce, public_key, signature }: AttestationResponse): void {
    const { provider, publicKey, clock, log } = this.#options;
    const open = this.#open;
    if (open === undefined || this.#over.includes(nonce)) return;
    this.#end();
    if (nonce === open.nonce && public_key === publicKey && signature !== '') {
      this.#passedAt = clock.now();
      this.#judge({ type: 'passed' });
    } else {
      this.#passedAt = undefined;
      log.warn({ provider }, 'a challenge was answered wrongly');
      this.#judge({ type: 'wrong' });
    }
  }

  /** An answer of the machine was not sealed as it promised. */
  sealBroken(): void {
    this.#judge({ type: 'seal_broken' });
  }

  /** The connection is gone. */
  disconnected(): void {
    this.#open?.timeout[Symbol.dispose]();
  }

  #end(): void {
    if (this.#open === undefined) return;
    this.#open.timeout[Symbol.dispose]();
    this.#over.push(this.#open.nonce);
    if (this.#over.length > MAX_OVER) this.#over.shift();
    this.#open = undefined;
  }

  /** Tells the machine when it gains or loses trust, and hangs up on one that seems gone. */
  #judge(event: TrustEvent): void {
    const { provider, send, hangUp, changed, log } = this.#options;
    const before = mistrustOf(this.#trust);
    this.#trust = nextTrust(this.#trust, event);
    const reason = mistrustOf(this.#trust);
    if (reason !== before) {
      const status = reason === undefined ? ({ status: 'online' } as const) : { status: 'untrusted', reason };
      send({ type: 'trust_status', trust_level: 'none', ...status });
      log.warn({ provider, reason }, reason === undefined ? 'provider trusted again' : 'provider not trusted');
    }
    if (isGone(this.#trust)) hangUp(UNRESPONSIVE);
    changed();
  }
}
