import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { portOf } from './port-of.js';

/** What happens to one connection; all but the first four from some chunk on. */
export const FATES = [
  'nothing',
  'late',
  'in pieces',
  'late and in pieces',
  'a chunk twice',
  'a part missing',
  'deaf upwards',
  'deaf downwards',
  'silence',
  'reset in mid-frame',
  'provider cut off',
  'coordinator cut off',
] as const;
export type Fate = (typeof FATES)[number];

/** When a connection's fate strikes, by its chunks in both directions. */
interface Strikes {
  readonly at: number;
  chunks: number;
  struck: boolean;
}

const LATEST_CHUNK = 60;
const MOST_TURNS = 6;

/** The bytes between a provider and its coordinator, which arrive as they like. */
export class BadWay implements AsyncDisposable {
  readonly #server: Server;
  readonly #random: () => number;
  readonly #sockets = new Set<Socket>();
  #calm = false;
  /** What happened to each connection so far. */
  readonly fates: Fate[] = [];

  private constructor(target: URL, random: () => number) {
    this.#random = random;
    this.#server = createServer({ allowHalfOpen: true }, (provider) => this.#carry(provider, target));
  }

  static async listen(target: string, random: () => number): Promise<BadWay> {
    const way = new BadWay(new URL(target), random);
    way.#server.listen(0, '127.0.0.1');
    await once(way.#server, 'listening');
    return way;
  }

  get url(): string {
    return `http://127.0.0.1:${portOf(this.#server)}`;
  }

  get openSockets(): number {
    return this.#sockets.size;
  }

  /** From now on nothing new happens. What has happened to a connection goes on. */
  calm(): void {
    this.#calm = true;
  }

  #carry(provider: Socket, target: URL): void {
    const coordinator = connect({ port: Number(target.port), host: target.hostname, allowHalfOpen: true });
    const fate = this.#calm ? 'nothing' : pick(FATES, this.#random);
    this.fates.push(fate);
    for (const socket of [provider, coordinator]) {
      this.#sockets.add(socket);
      socket.setNoDelay(); // what is late here is late on purpose
      socket.on('error', () => socket.destroy());
      socket.on('close', () => this.#sockets.delete(socket));
    }
    const strikes = { at: Math.floor(this.#random() * LATEST_CHUNK), chunks: 0, struck: false };
    void this.#pump(provider, coordinator, { fate, up: true, strikes });
    void this.#pump(coordinator, provider, { fate, up: false, strikes });
  }

  async #pump(
    from: Socket,
    to: Socket,
    { fate, up, strikes }: { fate: Fate; up: boolean; strikes: Strikes },
  ): Promise<void> {
    try {
      for await (const chunk of from as AsyncIterable<Buffer>) {
        const justNow = strikes.chunks++ === strikes.at && !this.#calm;
        strikes.struck ||= justNow;
        const { struck } = strikes;
        if (fate.startsWith('late')) await this.#wait();
        if (struck && (fate === 'silence' || fate === (up ? 'deaf upwards' : 'deaf downwards'))) continue;
        if (struck && fate === 'reset in mid-frame') {
          to.write(chunk.subarray(0, Math.ceil(chunk.length / 2)));
          await nextTurn();
          from.resetAndDestroy();
          to.resetAndDestroy();
          return;
        }
        if (struck && fate === 'provider cut off') (up ? from : to).destroy(); // the other end hears nothing of it
        if (struck && fate === 'coordinator cut off') (up ? to : from).destroy();
        await this.#pass(chunk, to, fate, justNow);
      }
      if (!['silence', 'deaf upwards', 'deaf downwards', 'provider cut off', 'coordinator cut off'].includes(fate))
        to.end();
    } catch {
      if (!fate.endsWith('cut off')) to.destroy();
    }
  }

  async #pass(chunk: Buffer, to: Socket, fate: Fate, justNow: boolean): Promise<void> {
    if (fate.endsWith('in pieces')) {
      for (let at = 0; at < chunk.length;) {
        const end = at + 1 + Math.floor(this.#random() * chunk.length);
        write(to, chunk.subarray(at, end));
        at = end;
        await nextTurn();
      }
      return;
    }
    if (justNow && fate === 'a part missing' && chunk.length > 1) {
      const kept = 1 + Math.floor(this.#random() * (chunk.length - 1));
      write(to, chunk.subarray(0, kept));
      return;
    }
    write(to, chunk);
    if (justNow && fate === 'a chunk twice') write(to, chunk);
  }

  async #wait(): Promise<void> {
    for (let turns = Math.floor(this.#random() * MOST_TURNS); turns > 0; turns--) await nextTurn();
  }

  /** Cuts everything. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.close();
    const ended = [...this.#sockets].map((socket) => once(socket, 'close'));
    for (const socket of this.#sockets) socket.destroy();
    await Promise.all([once(this.#server, 'close'), ...ended]);
  }
}

function write(to: Socket, bytes: Buffer): void {
  if (!to.destroyed && to.writable) to.write(bytes);
}

function pick<T>(list: readonly T[], random: () => number): T {
  return list[Math.floor(random() * list.length)] as T;
}
