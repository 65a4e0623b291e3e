/** The HTTP base of a coordinator, without a slash at the end; `undefined` for anything that is not plain `http` or
 *  `https`, host and path: a login, a query or a fragment has no place in it. */
export function coordinatorAddress(text: string): string | undefined {
  if (!URL.canParse(text)) return undefined;
  const { protocol, host, pathname, username, password, search, hash } = new URL(text);
  const plain = username === '' && password === '' && search === '' && hash === '';
  return /^https?:$/u.test(protocol) && plain ? `${protocol}//${host}${pathname.replace(/\/+$/u, '')}` : undefined;
}
