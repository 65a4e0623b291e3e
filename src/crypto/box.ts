import { randomBytes } from 'node:crypto';
import sodium from 'libsodium-wrappers';
import { DarkbloomError } from '../errors.js';

/** NaCl `crypto_box` (X25519, XSalsa20-Poly1305) as the wire uses it: docs/protocol.md, sealing. */

await sodium.ready;

export interface KeyPair {
  publicKey: Uint8Array;
  secretKey: Uint8Array;
}

/** As `crypto_box_keypair` makes one, with Node's random bytes: the library asks the system for four at a time. */
export function newKeyPair(): KeyPair {
  const secretKey = new Uint8Array(randomBytes(sodium.crypto_box_SECRETKEYBYTES));
  return { publicKey: sodium.crypto_scalarmult_base(secretKey), secretKey };
}

export function toBase64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64');
}

/** The 32 bytes of a public key in base64, `undefined` if it is anything else. */
export function parsePublicKey(text: string): Uint8Array | undefined {
  const bytes = publicKeyBytes(text);
  return bytes !== undefined && canShareSecrets(bytes) ? bytes : undefined;
}

function publicKeyBytes(text: string): Uint8Array | undefined {
  const bytes = fromBase64(text);
  return bytes?.length === sodium.crypto_box_PUBLICKEYBYTES ? bytes : undefined;
}

const probe = newKeyPair().secretKey;

/** False for the few points of low order: with them every secret would be zero, and the library refuses. */
function canShareSecrets(publicKey: Uint8Array): boolean {
  try {
    sodium.crypto_box_beforenm(publicKey, probe);
    return true;
  } catch {
    return false;
  }
}

/** `undefined` for anything but padded base64 in its one spelling: Node's decoder skips what it does not know. */
function fromBase64(text: string): Uint8Array | undefined {
  const bytes = Buffer.from(text, 'base64');
  return bytes.toString('base64') === text ? new Uint8Array(bytes) : undefined;
}

/** A sealed text as the wire carries it: base64 of the sender's public key, base64 of nonce and box. */
interface Sealed {
  ephemeral_public_key: string;
  ciphertext: string;
}

/** One conversation between two key pairs. The shared key is computed once, here. */
export class Channel {
  readonly #sharedKey: Uint8Array;
  readonly #senderKey: string;

  /** `theirPublicKey` comes from `parsePublicKey` or `newKeyPair`. */
  constructor(mine: KeyPair, theirPublicKey: Uint8Array) {
    this.#sharedKey = sodium.crypto_box_beforenm(theirPublicKey, mine.secretKey);
    this.#senderKey = toBase64(mine.publicKey);
  }

  /** With whoever has this public key, base64 as the wire carries it; `undefined` if it is none. */
  static with(mine: KeyPair, theirPublicKey: string): Channel | undefined {
    const theirs = publicKeyBytes(theirPublicKey);
    try {
      return theirs && new Channel(mine, theirs);
    } catch {
      return undefined; // as in canShareSecrets
    }
  }

  /** Seals text under a fresh random nonce. */
  seal(text: string): Sealed {
    const nonce = randomBytes(sodium.crypto_box_NONCEBYTES);
    const box = sodium.crypto_box_easy_afternm(text, nonce, this.#sharedKey);
    const envelope = new Uint8Array(nonce.length + box.length);
    envelope.set(nonce);
    envelope.set(box, nonce.length);
    return { ephemeral_public_key: this.#senderKey, ciphertext: toBase64(envelope) };
  }

  /** @throws DarkbloomError `sealed_unreadable` if the box was not made for this channel or was changed. */
  open(ciphertext: string): string {
    const bytes = fromBase64(ciphertext);
    const nonceBytes = sodium.crypto_box_NONCEBYTES;
    if (bytes !== undefined && bytes.length >= nonceBytes + sodium.crypto_box_MACBYTES) {
      try {
        const box = bytes.subarray(nonceBytes);
        return sodium.to_string(
          sodium.crypto_box_open_easy_afternm(box, bytes.subarray(0, nonceBytes), this.#sharedKey),
        );
      } catch {
        // The one sentence below says all that may be said.
      }
    }
    throw new DarkbloomError('sealed_unreadable', 'decryption failed');
  }
}
