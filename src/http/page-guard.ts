import { hostname } from 'node:os';
import { isIP } from 'node:net';

/** Rules for what a browser shows and sends: which names are ours, which requests come from our own pages. Pure. */

/** What every page and every file of a page is sent with. Nothing of another host may be loaded, run or told. */
export const PAGE_HEADERS: Readonly<Record<string, string>> = {
  'Content-Security-Policy': [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "connect-src 'self'",
    "img-src 'self'",
    "form-action 'self'",
    "frame-ancestors 'none'",
    "base-uri 'none'",
  ].join('; '),
  'X-Content-Type-Options': 'nosniff',
  'X-Frame-Options': 'DENY',
  'Referrer-Policy': 'same-origin',
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Permissions-Policy': 'camera=(), geolocation=(), microphone=(), payment=(), usb=()',
  'Cache-Control': 'no-cache', // a page and its scripts are of one version
};

/** Names under which this machine is reached, beside its addresses. `bound` is the address it listens on. */
export function ownNames(bound: string, machine = hostname()): ReadonlySet<string> {
  const short = machine.split('.', 1)[0] ?? machine;
  return new Set(['localhost', bound, machine, short, `${short}.local`].map((name) => name.toLowerCase()));
}

/**
 * Whether a `Host` header names us. A foreign name that resolves to this machine (DNS rebinding) would make another
 * site's scripts part of our origin; an address cannot be rebound.
 */
export function isOwnHost(host: string | undefined, names: ReadonlySet<string>): boolean {
  const name = hostNameOf(host);
  return name !== undefined && (isIP(name) !== 0 || names.has(name));
}

/** Whether a `Host` header is an address or name that only this machine itself can use. */
export function isLoopbackHost(host: string | undefined): boolean {
  const name = hostNameOf(host);
  return name !== undefined && (name === 'localhost' || isLoopbackAddress(name));
}

/** The other end of a connection is this machine. */
export function isLoopbackAddress(address: string | undefined): boolean {
  const plain = address?.replace(/^::ffff:/u, '');
  return plain === '::1' || (plain !== undefined && isIP(plain) === 4 && plain.startsWith('127.'));
}

/** What a browser says of where a request comes from. */
interface Provenance {
  method: string;
  host: string | undefined;
  origin: string | undefined;
  /** `Sec-Fetch-Site`; browsers leave it out over plain HTTP on other names than loopback. */
  fetchSite: string | undefined;
}

/** Whether one of our own pages sent this: not another site, and not another port of this machine, which shares our
 *  cookies. What changes something must prove it; a plain read must only not disprove it. */
export function isFromOwnPage({ method, host, origin, fetchSite }: Provenance): boolean {
  if (fetchSite !== undefined && fetchSite !== 'same-origin') return false;
  if (origin !== undefined) return host !== undefined && URL.canParse(origin) && new URL(origin).host === host;
  return fetchSite !== undefined || method === 'GET' || method === 'HEAD';
}

/** Lower case, without port and brackets. */
function hostNameOf(host: string | undefined): string | undefined {
  if (host === undefined || !URL.canParse(`http://${host}`)) return undefined;
  const url = new URL(`http://${host}`);
  return url.host === host.toLowerCase() || `${url.host}:80` === host.toLowerCase()
    ? url.hostname.replace(/^\[|\]$/gu, '')
    : undefined;
}
