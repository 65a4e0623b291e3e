import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { Channel, newKeyPair, parsePublicKey, toBase64, type KeyPair } from '../../src/crypto/box.js';
import { hasSharedFixtures, sharedFixture } from '../support/shared-fixtures.js';

const NONCE_AND_TAG_BYTES = 24 + 16;

function bytes(base64: string): Uint8Array {
  return Buffer.from(base64, 'base64');
}

function publicKey(base64: string): Uint8Array {
  const key = parsePublicKey(base64);
  if (key === undefined) throw new Error('not a public key');
  return key;
}

function twoEnds(): { here: Channel; there: Channel; hereKeys: KeyPair; thereKeys: KeyPair } {
  const [hereKeys, thereKeys] = [newKeyPair(), newKeyPair()];
  return {
    hereKeys,
    thereKeys,
    here: new Channel(hereKeys, thereKeys.publicKey),
    there: new Channel(thereKeys, hereKeys.publicKey),
  };
}

function expectUnreadable(open: () => string): void {
  expect(open).toThrow(expect.objectContaining({ code: 'sealed_unreadable', message: 'decryption failed' }) as Error);
}

describe('a sealed text', () => {
  test('is opened by the other end, whatever it says', () => {
    const { here, there } = twoEnds();
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), (text) => {
        expect(there.open(here.seal(text).ciphertext)).toBe(text);
        expect(here.open(there.seal(text).ciphertext)).toBe(text);
      }),
    );
  });

  test('names the key of its sender and is as long as nonce, tag and text', () => {
    const { here, hereKeys } = twoEnds();
    const sealed = here.seal('größer');
    expect(sealed.ephemeral_public_key).toBe(toBase64(hereKeys.publicKey));
    expect(bytes(sealed.ciphertext)).toHaveLength(NONCE_AND_TAG_BYTES + Buffer.byteLength('größer'));
  });

  test('never looks the same twice', () => {
    const { here } = twoEnds();
    const nonces = Array.from({ length: 100 }, () => bytes(here.seal('same').ciphertext).subarray(0, 24).toString());
    expect(new Set(nonces).size).toBe(100);
  });

  test('is unreadable with any one bit changed', () => {
    const { here, there } = twoEnds();
    const sealed = bytes(here.seal('tamper with me').ciphertext);
    fc.assert(
      fc.property(fc.nat(sealed.length - 1), fc.nat(7), (index, bit) => {
        const changed = Uint8Array.from(sealed);
        changed[index] = (changed[index] ?? 0) ^ (1 << bit);
        expectUnreadable(() => there.open(toBase64(changed)));
      }),
    );
  });

  test('is unreadable for every other key, also to us when another sent it', () => {
    const { here, there, hereKeys, thereKeys } = twoEnds();
    const { ciphertext } = here.seal('for you alone');
    expectUnreadable(() => new Channel(newKeyPair(), hereKeys.publicKey).open(ciphertext));
    expectUnreadable(() => new Channel(thereKeys, newKeyPair().publicKey).open(ciphertext));
    expect(there.open(ciphertext)).toBe('for you alone');
  });

  test.each([
    ['nothing', ''],
    ['what is not base64', 'nonce-and-box!'],
    ['base64 without its padding', 'AAAA'.repeat(20) + 'AA'],
    ['less than nonce and tag', toBase64(new Uint8Array(NONCE_AND_TAG_BYTES - 1))],
    ['nonce and tag of nothing sealed', toBase64(new Uint8Array(NONCE_AND_TAG_BYTES))],
  ])('%s is unreadable', (_, ciphertext) => {
    expectUnreadable(() => twoEnds().here.open(ciphertext));
  });
});

describe('a public key', () => {
  test('is 32 bytes in base64', () => {
    const { publicKey: key } = newKeyPair();
    expect(parsePublicKey(toBase64(key))).toEqual(key);
  });

  test.each([
    ['empty', ''],
    ['31 bytes', toBase64(new Uint8Array(31).fill(9))],
    ['33 bytes', toBase64(new Uint8Array(33).fill(9))],
    ['another alphabet', '__________________________________________8='],
    ['no padding', toBase64(new Uint8Array(32).fill(9)).replace('=', '')],
    ['not base64', 'sender-key'],
    ['a point with which no secret can be shared', toBase64(new Uint8Array(32))],
  ])('%s is none', (_, text) => {
    expect(parsePublicKey(text)).toBeUndefined();
  });
});

describe.skipIf(!hasSharedFixtures)('recorded vectors', () => {
  const Payload = z.object({ ephemeral_public_key: z.string(), ciphertext: z.string() });
  const Contract = z.object({
    plaintext_base64: z.string(),
    sender_private_key_base64: z.string(),
    sender_public_key_base64: z.string(),
    recipient_private_key_base64: z.string(),
    recipient_public_key_base64: z.string(),
    payload: Payload,
    tampered_payload: Payload,
  });
  const Vectors = z.object({
    cases: z.array(
      z.object({
        name: z.string(),
        recipient_private_key_hex: z.string(),
        sender_public_key_base64: z.string(),
        ciphertext_base64: z.string(),
        plaintext_utf8: z.string(),
      }),
    ),
  });

  test('the box of the contract opens at both ends, and not once tampered with', () => {
    const contract = Contract.parse(sharedFixture('protocol/crypto_nacl_box_contract.v1.json'));
    const plaintext = Buffer.from(contract.plaintext_base64, 'base64').toString('utf8');
    const sender: KeyPair = {
      publicKey: bytes(contract.sender_public_key_base64),
      secretKey: bytes(contract.sender_private_key_base64),
    };
    const recipient: KeyPair = {
      publicKey: bytes(contract.recipient_public_key_base64),
      secretKey: bytes(contract.recipient_private_key_base64),
    };
    const { payload, tampered_payload: tampered } = contract;
    const receiving = new Channel(recipient, publicKey(payload.ephemeral_public_key));
    expect(receiving.open(payload.ciphertext)).toBe(plaintext);
    expect(new Channel(sender, recipient.publicKey).open(payload.ciphertext)).toBe(plaintext);
    expectUnreadable(() => receiving.open(tampered.ciphertext));
  });

  const vectors = hasSharedFixtures
    ? Vectors.parse(sharedFixture('protocol/crypto_encryption_vectors.v1.json')).cases
    : [];
  test.each(vectors)('$name opens', (vector) => {
    const secretKey = Buffer.from(vector.recipient_private_key_hex, 'hex');
    const channel = new Channel(
      { publicKey: new Uint8Array(32), secretKey },
      publicKey(vector.sender_public_key_base64),
    );
    expect(channel.open(vector.ciphertext_base64)).toBe(vector.plaintext_utf8);
  });
});
