import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { readLinkToken, saveLinkToken } from '../../src/link/link-token.js';
import { TemporaryHome } from '../support/temporary-home.js';

const HERE = 'http://studio.local:8787';
const TOKEN = 'eigeninference-pt-secret';

let home: TemporaryHome;
let path: string;
beforeEach(() => {
  home = new TemporaryHome();
  path = home.home.linkToken;
});
afterEach(() => home[Symbol.dispose]());

test('the token is shown to the coordinator that gave it', () => {
  saveLinkToken(path, HERE, TOKEN);
  expect(readLinkToken(path, HERE)).toBe(TOKEN);
});

test.each([
  'http://elsewhere.example:8787',
  'https://studio.local:8787',
  'http://studio.local:8788',
  'http://studio.local:8787/other',
  'http://studio.local:8787.evil.example',
  '',
])('the token is not shown to %j', (url) => {
  saveLinkToken(path, HERE, TOKEN);
  expect(readLinkToken(path, url)).toBeUndefined();
});

test('a new link takes the place of the old one', () => {
  saveLinkToken(path, HERE, TOKEN);
  saveLinkToken(path, 'http://elsewhere.example', 'eigeninference-pt-other');
  expect(readLinkToken(path, HERE)).toBeUndefined();
  expect(readLinkToken(path, 'http://elsewhere.example')).toBe('eigeninference-pt-other');
  expect(readFileSync(path, 'utf8')).not.toContain(TOKEN);
});

test('only the owner may read it', () => {
  saveLinkToken(path, HERE, TOKEN);
  expect((statSync(path).mode & 0o777).toString(8)).toBe('600');
});

test.each([
  ['no file', undefined],
  ['an empty file', ''],
  ['a token of no coordinator', `${TOKEN}\n`],
  ['a coordinator without a token', `\n${HERE}\n`],
])('without a token for it there is none: %s', (_, text) => {
  if (text !== undefined) writeFileSync(path, text);
  expect(readLinkToken(path, HERE)).toBeUndefined();
});
