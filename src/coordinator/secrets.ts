import { createHash, randomBytes } from 'node:crypto';

const SECRET_BYTES = 32;
const ID_BYTES = 12;

/** A fresh secret: the prefix and 64 hexadecimal digits. Shown once, never stored. */
export function newSecret(prefix: string): string {
  return prefix + randomBytes(SECRET_BYTES).toString('hex');
}

/** A fresh name for something stored: the prefix and 24 hexadecimal digits. */
export function newId(prefix: string): string {
  return prefix + randomBytes(ID_BYTES).toString('hex');
}

/** What is stored of a secret: SHA-256 of the whole text. A plain hash is enough, because the secrets are random. */
export function hashOf(secret: string): string {
  return createHash('sha256').update(secret).digest('hex');
}
