import type { Settings } from '../config.js';
import { isLoopback } from '../util/loopback.js';
import { errorStyle, printError } from './style.js';

/** Says plainly what binding beyond this machine means without TLS, unless its owner has said that it is known. */
export function warnAboutNetwork({ host, tls_cert: certificate, accept_clear: accepted }: Settings['http']): void {
  if (isLoopback(host) || certificate !== undefined || accepted) return;
  printError(
    `${errorStyle.yellow('warning')} ${host} is reachable from the network, and there is no TLS: ` +
      'keys and link tokens cross it in clear. Do this only on a network you trust. ' +
      'http.tls_cert and http.tls_key bring TLS; --accept-clear (http.accept_clear) ends this warning.',
  );
}
