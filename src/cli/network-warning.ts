import { errorStyle } from './style.js';

/** Says plainly what binding beyond this machine means while there is no TLS. */
export function warnAboutNetwork(host: string): void {
  if (isLoopback(host)) return;
  process.stderr.write(
    `${errorStyle.yellow('warning')} ${host} is reachable from the network, and there is no TLS: ` +
      'keys and link tokens cross it in clear. Do this only on a network you trust.\n',
  );
}

export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || host.startsWith('127.');
}
