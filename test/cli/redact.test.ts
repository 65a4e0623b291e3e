import { randomBytes, randomUUID } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  MAX_READ_LENGTH,
  MAX_TEXT_LENGTH,
  redactedLine,
  redactedValue,
  redactor,
  type Private,
  type Redact,
} from '../../src/cli/redact.js';
import { newSecret } from '../../src/coordinator/secrets.js';
import { Identity } from '../../src/crypto/identity.js';

const KNOWN: Private = {
  secrets: ['hunter2', ''],
  modelFiles: ["/Volumes/Anna's Disk/my secret novel.gguf"],
  userHome: '/Users/anna',
  providerHome: '/Users/anna/.darkbloom-provider',
  userName: 'anna',
  hostName: 'annas-macbook.fritz.box',
};
const redact = redactor(KNOWN);
const HEX = '0123456789abcdef'.repeat(4);

test.each<[string, string, string]>([
  ['a secret that is known', 'the key hunter2, again hunter2', 'the key [secret], again [secret]'],
  ['an API key', `key=sk-db-${HEX}`, 'key=[secret]'],
  ['a login token', `"db-login-${HEX}"`, '"[secret]"'],
  ['a link token', `token eigeninference-pt-${HEX}.`, 'token [secret]'],
  ['the token of the direct endpoint', 'dk-local-abc_DEF-123456789', '[secret]'],
  ['a device code', HEX, '[hex]'],
  ['a code of `link`', 'approve 7KQH-M2XP', 'approve [code]'],
  ['a token of Hugging Face', 'hf_abcdefghijKLMNOP', '[secret]'],
  ['a bearer', 'Authorization: Bearer abc.def/ghi', 'Authorization: Bearer [secret]'],
  ['a login in an address', 'https://me:pass@example.com/x', 'https://[secret]@example.com/x'],
  ['the query of an address', 'https://example.com/x?sig=abc done', 'https://example.com/x?[query] done'],
  ['a UUID', 'B7E1A2C4-0000-4000-8000-1234567890AB', '[id]'],
  ['a serial number', 'serial C02XK1ABJG5H', 'serial [serial]'],
  [
    'a path of the user',
    '/Users/anna/.darkbloom-provider/config.toml, line 2',
    '~/.darkbloom-provider/config.toml, line 2',
  ],
  ['a path of the user in other letters', '/users/ANNA/x', '~/x'],
  ['a path of another user', '/home/bob/x and /Users/carol', '~/x and ~'],
  ['a model file that is known', "The file /Volumes/Anna's Disk/my secret novel.gguf is", 'The file [model file] is'],
  ['a model file', 'qwen = "/data/my models/a b.gguf"', 'qwen = "[model file]"'],
  ['a disk', '/Volumes/Backup/x', '/Volumes/[volume]/x'],
  ['the name of the user', 'Anna said: anna_x', '[user] said: [user]_x'],
  ['the name of the machine', 'annas-macbook.fritz.box, Annas-MacBook', '[host], [host]'],
  ['a machine of the network', 'http://studio.local:8787', 'http://[host].local:8787'],
  ['an e-mail address', 'anna.b@example.com', '[email]'],
  ['an IP address', 'connect ECONNREFUSED 192.168.1.20:8787.', 'connect ECONNREFUSED [ip]:8787.'],
  ['an IPv6 address', 'fe80::1%en0 and http://[2001:db8::7]:80', '[ip] and http://[[ip]]:80'],
  ['a whole IPv6 address', 'to 2001:db8:1:2:3:4:5:6.', 'to [ip]'],
  ['an IPv4 address in IPv6', '::ffff:10.0.0.7', '[ip]'],
  ['a public key without a digit', 'jAeABvcBQZOfNSkrGfHpybWy+YKzgqJDR/ldTpTcfxU=', '[secret]'],
  ['a hardware address', 'a4:83:e7:12:34:56', '[ip]'],
])('%s is taken out', (_, text, shown) => {
  expect(redact(text)).toBe(shown);
});

test.each([
  '2026-11-22T10:00:00.000Z',
  'http://127.0.0.1:8000/v1 and [::1]:8000, 0.0.0.0',
  'local/darkbloom-tiny-chat-f16, QAT-UD-Q4_K_XL, gemma-4-26b',
  '41 tokens/s, max_tokens 100, 12.11 GB, version 20.20.2',
  'Run `darkbloom-provider resume`; see docs/operations.md',
  'savanna, annals',
  'std::string',
  'https://coordinator.example.com/v1',
])('%s stays', (text) => {
  expect(redact(text)).toBe(text);
});

test('a long text is cut after it was redacted, so that no half of a secret is left', () => {
  const text = `${'x '.repeat(MAX_TEXT_LENGTH / 2 - 5)}sk-db-${HEX}`;
  expect(redactedValue(text, redact)).toMatch(/^[x ]+\[secret\]$/u);
  const longer = `${'/Users/anna/'.repeat(MAX_READ_LENGTH / 12 - 1)} sk-db-${HEX}`;
  expect(redactedValue(longer, redact)).not.toMatch(/sk-db|anna/u);
  const cut = redactedValue('y'.repeat(MAX_TEXT_LENGTH + 1), redact);
  expect(cut).toBe(`${'y'.repeat(MAX_TEXT_LENGTH)}…`);
});

test('fields that have no place in a log line are taken out whatever they hold; counts stay', () => {
  const line = { level: 30, api_key: 'x', prompt: ['Hi'], messages: [{ content: 'Hi' }], prompt_tokens: 7, tokens: 3 };
  expect(redactedLine({ ...line, err: { authorization: { a: 1 }, message: 'of anna' } }, redact)).toEqual({
    level: 30,
    api_key: '[secret]',
    prompt: '[secret]',
    messages: '[secret]',
    prompt_tokens: 7,
    tokens: 3,
    err: { authorization: '[secret]', message: 'of [user]' },
  });
});

test('a home outside of the folder of the user has a name of its own', () => {
  const elsewhere = redactor({ ...KNOWN, providerHome: '/srv/node (1)' });
  expect(elsewhere('/srv/node (1)/config.toml of /Users/anna')).toBe('[home]/config.toml of ~');
});

describe('whatever stands around it', () => {
  /** Every kind of secret that this program makes. */
  const SECRETS: Readonly<Record<string, () => string>> = {
    'API key': () => newSecret('sk-db-'),
    'login token': () => newSecret('db-login-'),
    'link token': () => newSecret('eigeninference-pt-'),
    'device code': () => newSecret(''),
    'direct token': () => `dk-local-${randomBytes(32).toString('base64url')}`,
    'public key': () => new Identity().publicKey,
    UUID: () => randomUUID(),
  };
  const around = fc.string({ maxLength: 20, unit: 'grapheme' });
  const edge = fc.constantFrom(' ', '"', "'", '=', ': ', '\n', ',', '(', '/', '[', '{"a":"');

  test.each(Object.entries(SECRETS))('no %s is left in a text or a log line', (_, make) => {
    fc.assert(
      fc.property(around, edge, edge, around, (before, left, right, after) => {
        const secret = make();
        expectWithout(secret, `${before}${left}${secret}${right}${after}`, redactor({ ...KNOWN, secrets: [] }));
      }),
    );
  });

  test('no secret of a file is left, whatever it looks like', () => {
    const word = fc.string({ minLength: 8, maxLength: 40, unit: 'grapheme' }).filter((text) => !/[\s[\]]/u.test(text));
    fc.assert(
      fc.property(around, word, around, (before, secret, after) => {
        expectWithout(secret, `${before}${secret}${after}`, redactor({ ...KNOWN, secrets: [secret] }));
      }),
    );
  });

  test('neither the home of the user nor the name is left', () => {
    const name = fc.stringMatching(/^[a-z][a-z0-9_-]{2,15}$/u).filter((word) => !TAGS.includes(word));
    const home = fc.stringMatching(/^\/[A-Za-z0-9 ().+*é-]{1,12}\/$/u);
    fc.assert(
      fc.property(around, home, name, edge, around, (before, parent, userName, right, after) => {
        const userHome = `${parent}${userName}`;
        const shown = redactor({ ...KNOWN, userHome, userName, providerHome: `${userHome}/node` })(
          `${before}${right}${userHome}/node/config.toml${right}${userName}${right}${after}`,
        );
        expect(shown).not.toContain(userHome);
        const words = shown.split(/[^\p{L}\p{N}_-]+/u);
        expect(words).not.toContain(userName);
      }),
    );
  });
});

/** Words that stand for what was taken out. */
const TAGS = ['secret', 'user', 'host', 'home', 'hex', 'code', 'query', 'email', 'serial', 'model', 'file', 'volume'];

function expectWithout(secret: string, text: string, over: Redact): void {
  expect(over(text)).not.toContain(secret);
  const line = { msg: text, err: { stack: [text], cause: { message: text } }, [text]: text };
  expect(JSON.stringify(redactedLine(line, over))).not.toContain(secret);
}
