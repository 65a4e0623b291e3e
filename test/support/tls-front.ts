import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createServer, type Server } from 'node:tls';
import { portOf } from './port-of.js';

/** Speaks TLS before a port of this machine that does not, with a certificate that it signed itself for one host name. */
export class TlsFront implements AsyncDisposable {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #folder: string;
  /** The certificate, for who wants to trust it. */
  readonly certificate: string;

  private constructor(name: string, targetPort: number) {
    this.#folder = mkdtempSync(join(tmpdir(), 'tls-front-'));
    this.certificate = join(this.#folder, 'certificate.pem');
    const key = join(this.#folder, 'key.pem');
    const request = ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', `/CN=${name}`];
    const names = ['-addext', `subjectAltName=DNS:${name}`];
    execFileSync('openssl', [...request, ...names, '-keyout', key, '-out', this.certificate], { stdio: 'pipe' });
    this.#server = createServer({ key: readFileSync(key), cert: readFileSync(this.certificate) }, (inbound) => {
      const outbound = connect(targetPort, '127.0.0.1');
      inbound.pipe(outbound).pipe(inbound);
      for (const [one, other] of [
        [inbound, outbound],
        [outbound, inbound],
      ] as const) {
        this.#sockets.add(one);
        one.on('error', () => other.destroy());
        one.on('close', () => other.destroy());
      }
    });
  }

  static async listen(name: string, targetPort: number): Promise<TlsFront> {
    const front = new TlsFront(name, targetPort);
    front.#server.listen(0, '127.0.0.1');
    await once(front.#server, 'listening');
    return front;
  }

  get port(): number {
    return portOf(this.#server);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
    await closed;
    rmSync(this.#folder, { recursive: true });
  }
}
