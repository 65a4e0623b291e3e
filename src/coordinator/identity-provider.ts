import { errors, jwtVerify } from 'jose';
import type { Settings } from '../config.js';
import { DarkbloomError, toFailure } from '../errors.js';
import { credentialOf, type HttpApp, type HttpContext } from '../http/app.js';
import type { Log } from '../log.js';
import type { Clock } from '../util/clock.js';
import type { Accounts } from './accounts.js';
import { pinnedKey, remoteKeys, type IdentityKeys } from './identity-keys.js';

/** How far the provider's clock may be from ours. */
const CLOCK_TOLERANCE_S = 30;
const MAX_TOKEN_CHARACTERS = 8_192;
const MAX_SUBJECT_CHARACTERS = 255;

/** Why a token was refused: one word for programs, a sentence for people. */
const REASONS = {
  malformed: 'it is not a signed token',
  algorithm: 'it is signed with an algorithm that is not accepted',
  unknown_key: 'it is signed with a key that the provider does not have',
  signature: 'its signature is wrong',
  issuer: 'it comes from another issuer',
  audience: 'it was made for another application',
  expired: 'it has expired',
  not_yet_valid: 'it is not valid yet',
  claims: 'it does not say who it stands for, or until when',
} as const;
type Reason = keyof typeof REASONS;

/** Signs people in with the tokens (JWT) of a provider elsewhere. */
export class IdentityProvider {
  readonly issuer: string;
  readonly #audience: string;
  readonly #keys: IdentityKeys;
  readonly #clock: Clock;

  constructor(options: { issuer: string; audience: string; keys: IdentityKeys; clock: Clock }) {
    this.issuer = options.issuer;
    this.#audience = options.audience;
    this.#keys = options.keys;
    this.#clock = options.clock;
  }

  /** Whom a token stands for.
   *  @throws DarkbloomError `unauthorized` with the reason; `identity_unavailable`. */
  async subjectOf(token: string): Promise<string> {
    if (token.length > MAX_TOKEN_CHARACTERS) throw refused('malformed');
    let subject: string | undefined;
    try {
      const { payload } = await jwtVerify(token, this.#keys.find, {
        issuer: this.issuer,
        audience: this.#audience,
        algorithms: this.#keys.algorithms,
        requiredClaims: ['sub', 'exp'],
        clockTolerance: CLOCK_TOLERANCE_S,
        currentDate: new Date(this.#clock.now()),
      });
      subject = payload.sub;
    } catch (error) {
      if (error instanceof DarkbloomError) throw error;
      throw refused(reasonOf(error), error);
    }
    if (subject === undefined || subject === '' || subject.length > MAX_SUBJECT_CHARACTERS) throw refused('claims');
    return subject;
  }
}

/** The provider of the settings; `undefined` when none is set.
 *  @throws DarkbloomError `config_invalid` for a key file that cannot be used. */
export function identityProviderOf(
  { issuer, audience, jwks_url: url, public_key_file: file }: Settings['identity'],
  { clock, log }: { clock: Clock; log: Log },
): IdentityProvider | undefined {
  if (issuer === undefined || audience === undefined) return undefined;
  const keys = file === undefined ? remoteKeys(url ?? '', { clock, log }) : pinnedKey(file);
  return new IdentityProvider({ issuer, audience, keys, clock });
}

/** Looks at every token that could be of the provider before the routes do; they decide whether they need one. */
export function identify(app: HttpApp, provider: IdentityProvider, accounts: Accounts): void {
  app.use('/v1/*', async (context: HttpContext, next) => {
    const token = credentialOf(context);
    if (token?.startsWith('eyJ') === true) {
      const account = await provider
        .subjectOf(token)
        .then((subject) => () => accounts.ofIdentity(provider.issuer, subject).id)
        .catch((error: unknown) => () => {
          throw toFailure(error);
        });
      context.set('identity', account);
    }
    await next();
  });
}

function refused(reason: Reason, cause?: unknown): DarkbloomError {
  const message = `The sign-in token is not valid (${reason}): ${REASONS[reason]}. Sign in again.`;
  return new DarkbloomError('unauthorized', message, { cause });
}

function reasonOf(error: unknown): Reason {
  if (error instanceof errors.JWTExpired) return 'expired';
  if (error instanceof errors.JOSEAlgNotAllowed || error instanceof errors.JOSENotSupported) return 'algorithm';
  if (error instanceof errors.JWSSignatureVerificationFailed) return 'signature';
  if (error instanceof errors.JWKSNoMatchingKey || error instanceof errors.JWKSMultipleMatchingKeys) {
    return 'unknown_key';
  }
  if (!(error instanceof errors.JWTClaimValidationFailed)) return 'malformed';
  const byClaim: Record<string, Reason> = { iss: 'issuer', aud: 'audience', nbf: 'not_yet_valid' };
  return byClaim[error.claim] ?? 'claims';
}
