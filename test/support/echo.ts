import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { portOf } from './port-of.js';

/** A socket of this machine to itself, which tells how long what is on its way takes: when an echo has come back, so have
 *  other bytes that were sent before. */
export class Echo implements AsyncDisposable {
  readonly #server: Server;
  readonly #socket: Socket;

  private constructor(server: Server, socket: Socket) {
    this.#server = server;
    this.#socket = socket;
  }

  static async open(): Promise<Echo> {
    const server = createServer((socket) => void socket.pipe(socket));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const socket = connect(portOf(server), '127.0.0.1').setNoDelay();
    await once(socket, 'connect');
    return new Echo(server, socket);
  }

  async roundTrip(): Promise<void> {
    this.#socket.write('?');
    await once(this.#socket, 'data');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#socket.destroy();
    this.#server.close();
    await once(this.#server, 'close');
  }
}
