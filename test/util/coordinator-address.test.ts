import { expect, test } from 'vitest';
import { coordinatorAddress } from '../../src/util/coordinator-address.js';

test.each([
  ['http://studio.local:8787', 'http://studio.local:8787'],
  ['https://api.example.com', 'https://api.example.com'],
  ['http://studio.local:8787/', 'http://studio.local:8787'],
  ['http://studio.local:8787///', 'http://studio.local:8787'],
  ['https://example.com/darkbloom/', 'https://example.com/darkbloom'],
  ['HTTP://Studio.Local:80', 'http://studio.local'],
  ['http://127.0.0.1:8787', 'http://127.0.0.1:8787'],
  ['http://[::1]:8787/', 'http://[::1]:8787'],
])('%s is the coordinator at %s', (text, address) => {
  expect(coordinatorAddress(text)).toBe(address);
  expect(coordinatorAddress(address)).toBe(address);
});

test.each([
  ['no address', 'studio'],
  ['no scheme', 'studio.local:8787'],
  ['nothing', ''],
  ['another scheme', 'ftp://studio.local'],
  ['the scheme of the socket', 'ws://studio.local:8787'],
  ['a file', 'file:///etc/passwd'],
  ['a script', 'javascript:alert(1)'],
  ['a login', 'http://me:secret@studio.local'],
  ['a name before the host', 'http://api.example.com@evil.example'],
  ['a query', 'http://studio.local/?token=secret'],
  ['a fragment', 'http://studio.local/#there'],
  ['no host', 'http://'],
  ['a port that is none', 'http://studio.local:99999'],
])('%s is refused: %s', (_, text) => {
  expect(coordinatorAddress(text)).toBeUndefined();
});
