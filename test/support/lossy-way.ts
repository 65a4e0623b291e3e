import { once } from 'node:events';
import { createServer, request, type Server } from 'node:http';
import { WebSocket, WebSocketServer } from 'ws';
import { z } from 'zod';
import { portOf } from './port-of.js';

const Typed = z.object({ type: z.string() });

/** The way between a provider and its coordinator, on which frames of the provider can get lost. Requests pass. */
export class LossyWay implements AsyncDisposable {
  readonly #http: Server;
  readonly #sockets: WebSocketServer;
  /** The types of the frames that get lost. */
  readonly loses = new Set<string>();

  private constructor(target: string) {
    this.#http = createServer((asked, answer) => {
      const { method, headers, url = '/' } = asked;
      const passed = request(
        `${target}${url}`,
        { ...(method === undefined ? {} : { method }), headers },
        (response) => {
          answer.writeHead(response.statusCode ?? 500, response.headers);
          response.pipe(answer);
        },
      );
      passed.on('error', () => answer.destroy());
      asked.pipe(passed);
    });
    this.#sockets = new WebSocketServer({ server: this.#http, path: '/ws/provider' });
    this.#sockets.on('connection', (provider) => this.#carry(provider, target.replace(/^http/u, 'ws')));
  }

  static async listen(target: string): Promise<LossyWay> {
    const way = new LossyWay(target);
    way.#http.listen(0, '127.0.0.1');
    await once(way.#http, 'listening');
    return way;
  }

  get url(): string {
    return `http://127.0.0.1:${portOf(this.#http)}`;
  }

  #carry(provider: WebSocket, target: string): void {
    const coordinator = new WebSocket(`${target}/ws/provider`);
    const opened = once(coordinator, 'open');
    provider.on('message', (data: Buffer) => {
      const text = data.toString('utf8');
      if (!this.loses.has(Typed.parse(JSON.parse(text)).type)) void opened.then(() => coordinator.send(text));
    });
    coordinator.on('message', (data: Buffer) => provider.send(data.toString('utf8')));
    provider.on('close', () => coordinator.terminate());
    coordinator.on('close', () => provider.terminate());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets.clients) socket.terminate();
    this.#http.close();
    this.#http.closeAllConnections();
    await once(this.#http, 'close');
  }
}
