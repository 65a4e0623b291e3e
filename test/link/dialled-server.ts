import { once } from 'node:events';
import { WebSocketServer, type WebSocket } from 'ws';
import { decodeProviderFrame } from '../../src/protocol/codec.js';
import { Mailbox } from '../../src/util/mailbox.js';

interface ServerOptions {
  /** False: pings are not answered. */
  autoPong?: boolean;
}

/** A real WebSocket server that a link dials. */
export class DialledServer implements AsyncDisposable {
  readonly #server: WebSocketServer;
  readonly #connections = new Mailbox<Dialled>(1_000);
  readonly #arrivals = this.#connections[Symbol.asyncIterator]();
  /** False: turned away before the upgrade. */
  accepts = true;
  /** How often a link knocked, let in or not. */
  knocks = 0;

  private constructor(server: WebSocketServer) {
    this.#server = server;
    server.on('connection', (socket) => this.#connections.put(new Dialled(socket)));
  }

  static async listen({ autoPong = true }: ServerOptions = {}): Promise<DialledServer> {
    const admit = { knock: () => true };
    const verifyClient = () => admit.knock();
    const server = new WebSocketServer({ host: '127.0.0.1', port: 0, path: '/ws/provider', autoPong, verifyClient });
    await once(server, 'listening');
    const dialled = new DialledServer(server);
    admit.knock = () => {
      dialled.knocks++;
      return dialled.accepts;
    };
    return dialled;
  }

  get url(): string {
    const address = this.#server.address();
    return `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}`;
  }

  /** The next connection, now or later. */
  async connection(): Promise<Dialled> {
    const next = await this.#arrivals.next();
    if (next.done === true) throw new Error('The server has ended.');
    return next.value;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#server.clients) socket.terminate();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }
}

/** One connection, as its server sees it. */
export class Dialled {
  readonly #socket: WebSocket;
  readonly #frames = new Mailbox<string>(1_000);
  readonly #reading = this.#frames[Symbol.asyncIterator]();
  readonly #pings = new Mailbox<true>(1_000);
  readonly #pinging = this.#pings[Symbol.asyncIterator]();
  /** The code that the connection was closed with. */
  readonly closed: Promise<number>;

  constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.on('message', (data: Buffer) => this.#frames.put(data.toString('utf8')));
    socket.on('ping', () => this.#pings.put(true));
    this.closed = new Promise((resolve) => socket.once('close', resolve));
  }

  /** The type of the next frame, now or later. */
  async frame(): Promise<string> {
    const next = await this.#reading.next();
    const decoded = decodeProviderFrame(next.done === true ? '' : next.value);
    return decoded.ok ? decoded.message.type : decoded.reason;
  }

  /** Resolves with the next ping. */
  async ping(): Promise<void> {
    await this.#pinging.next();
  }

  pong(): void {
    this.#socket.pong();
  }

  sendText(text: string): void {
    this.#socket.send(text);
  }

  /** Cuts the connection without a word. */
  drop(): void {
    this.#socket.terminate();
  }
}
