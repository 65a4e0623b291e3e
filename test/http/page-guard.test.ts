import { describe, expect, test } from 'vitest';
import {
  isFromOwnPage,
  isLoopbackAddress,
  isLoopbackHost,
  isOwnHost,
  ownNames,
  PAGE_HEADERS,
} from '../../src/http/page-guard.js';

const NAMES = ownNames('studio.lan', 'Studio.fritz.box');

test.each<[string | undefined, boolean]>([
  ['127.0.0.1:8000', true],
  ['[::1]:8000', true],
  ['192.168.1.7:8000', true],
  ['localhost:8000', true],
  ['LOCALHOST:8000', true],
  ['localhost', true],
  ['studio.local:8787', true],
  ['studio.fritz.box:8787', true],
  ['studio.lan:8787', true],
  ['evil.example:8000', false],
  ['127.0.0.1.evil.example', false],
  ['localhost.evil.example', false],
  ['evil.example@127.0.0.1', false],
  ['127.0.0.1/../evil', false],
  ['127.1', false],
  ['', false],
  [undefined, false],
])('a Host of %s is our own: %s', (host, own) => {
  expect(isOwnHost(host, NAMES)).toBe(own);
});

test.each<[string | undefined, boolean]>([
  ['127.0.0.1:8000', true],
  ['[::1]:8000', true],
  ['localhost:8000', true],
  ['192.168.1.7:8000', false],
  ['studio.local:8000', false],
  [undefined, false],
])('a Host of %s is of this machine alone: %s', (host, loopback) => {
  expect(isLoopbackHost(host)).toBe(loopback);
});

test.each<[string | undefined, boolean]>([
  ['127.0.0.1', true],
  ['127.9.9.9', true],
  ['::1', true],
  ['::ffff:127.0.0.1', true],
  ['192.168.1.7', false],
  ['::ffff:192.168.1.7', false],
  ['fe80::1', false],
  [undefined, false],
])('an address of %s is of this machine: %s', (address, loopback) => {
  expect(isLoopbackAddress(address)).toBe(loopback);
});

describe('a request comes from our own page', () => {
  const host = '127.0.0.1:8000';
  const own = `http://${host}`;
  test.each<[string, string | undefined, string | undefined, boolean]>([
    ['GET', undefined, undefined, true],
    ['HEAD', undefined, undefined, true],
    ['GET', undefined, 'same-origin', true],
    ['GET', undefined, 'none', false],
    ['GET', undefined, 'same-site', false],
    ['GET', undefined, 'cross-site', false],
    ['GET', 'http://127.0.0.1:9000', undefined, false],
    ['POST', own, 'same-origin', true],
    ['POST', own, undefined, true],
    ['POST', undefined, 'same-origin', true],
    ['POST', undefined, undefined, false],
    ['DELETE', undefined, undefined, false],
    ['POST', own, 'same-site', false],
    ['POST', 'http://127.0.0.1:9000', 'same-site', false],
    ['POST', 'http://127.0.0.1:9000', undefined, false],
    ['POST', 'null', 'same-origin', false],
    ['POST', 'https://evil.example', 'same-origin', false],
  ])('%s, Origin %s, Sec-Fetch-Site %s: %s', (method, origin, fetchSite, expected) => {
    expect(isFromOwnPage({ method, host, origin, fetchSite })).toBe(expected);
  });

  test('not without a host', () => {
    expect(isFromOwnPage({ method: 'POST', host: undefined, origin: own, fetchSite: undefined })).toBe(false);
  });
});

test('the policy lets a page load, run and tell nothing but its own', () => {
  expect(PAGE_HEADERS['Content-Security-Policy']?.split('; ').sort()).toEqual([
    "base-uri 'none'",
    "connect-src 'self'",
    "default-src 'none'",
    "form-action 'self'",
    "frame-ancestors 'none'",
    "img-src 'self'",
    "script-src 'self'",
    "style-src 'self'",
  ]);
});
