import { createSign, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { newKeyPair, toBase64, type KeyPair } from './box.js';

/**
 * Who this process is on the wire: an X25519 pair that requests are sealed to, and a P-256 software key that fills the
 * challenge's signature. Both live in memory and end with the process.
 */
export class Identity {
  readonly box: KeyPair = newKeyPair();
  readonly #signingKey: KeyObject = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;

  /** base64 of the X25519 public key, as registered. */
  get publicKey(): string {
    return toBase64(this.box.publicKey);
  }

  /** base64 of a DER ECDSA signature over the UTF-8 of `text`. It shows that one process answers all challenges; it
   *  says nothing about where the key lives, because no attestation is ever sent (docs/architecture.md, honesty). */
  sign(text: string): string {
    return createSign('SHA256').update(text, 'utf8').sign(this.#signingKey, 'base64');
  }
}
