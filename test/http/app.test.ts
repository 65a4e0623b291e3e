import { expect, test } from 'vitest';
import { DarkbloomError } from '../../src/errors.js';
import { createApp, normalPath } from '../../src/http/app.js';
import { silentLog } from '../../src/log.js';

test.each([
  ['/v1/models', '/v1/models'],
  ['/v1/v1/messages', '/v1/messages'],
  ['/v1/v1/v1/messages', '/v1/messages'],
  ['//v1///models/', '/v1/models'],
  ['/v1/v1', '/v1'],
  ['/v1/v1x', '/v1/v1x'],
  ['/', '/'],
])('the path %s is read as %s', (path, normal) => {
  expect(normalPath(path)).toBe(normal);
});

test('a fault of ours says little outside, and nothing of its cause', async () => {
  const app = createApp(silentLog());
  app.get('/broken', () => {
    throw new Error('secret cause');
  });
  const response = await app.request('/broken');
  expect(response.status).toBe(500);
  expect(await response.text()).not.toContain('secret');
});

test('what this node cannot do is not asked for again', async () => {
  const app = createApp(silentLog());
  app.get('/other', () => {
    throw new DarkbloomError('unsupported', 'chat only');
  });
  const { headers, status } = await app.request('/other');
  expect([status, headers.get('x-should-retry')]).toEqual([501, 'false']);
});

test('an error carries when to come back, and whether a client library should try by itself', async () => {
  const app = createApp(silentLog());
  app.get('/offline', () => {
    throw new DarkbloomError('machine_offline', 'away', { retryAfterS: 30 });
  });
  const { headers, status } = await app.request('/offline');
  expect([status, headers.get('retry-after'), headers.get('x-should-retry')]).toEqual([503, '30', 'false']);
});
