/** Whether a host name or address means this machine alone. */
export function isLoopback(host: string): boolean {
  const address = host.replace(/^\[|\]$/gu, '').replace(/^::ffff:/iu, '');
  return address === 'localhost' || address === '::1' || /^127(\.\d{1,3}){3}$/u.test(address);
}

interface Ends {
  remoteAddress?: string | undefined;
  localAddress?: string | undefined;
}

/** Whether the other end of a socket is on this machine: it came over loopback, or from the address it went to. */
export function isFromHere({ remoteAddress, localAddress }: Ends): boolean {
  if (remoteAddress === undefined) return false;
  return isLoopback(remoteAddress) || remoteAddress === localAddress;
}
