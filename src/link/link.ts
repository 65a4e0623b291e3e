import { WebSocket } from 'ws';
import type { Log } from '../log.js';
import { decodeCoordinatorFrame, encode } from '../protocol/codec.js';
import type { CoordinatorMessage } from '../protocol/coordinator-messages.js';
import {
  HEARTBEAT_PERIOD_MS,
  MAX_PROVIDER_INBOUND_BYTES,
  PING_PERIOD_MS,
  PONG_TIMEOUT_MS,
} from '../protocol/limits.js';
import type { Heartbeat, ProviderMessage, Register } from '../protocol/provider-messages.js';
import { every, type Clock } from '../util/clock.js';
import { nextLinkState, type LinkEvent, type LinkState } from './link-state.js';

const DIAL_TIMEOUT_MS = 15_000;
const CLOSE_TIMEOUT_MS = 2_000;
/** A connection that lasted so long was a good one. */
const GOOD_AFTER_MS = 30_000;
/** WebSocket close codes of a peer that ends in good order. */
const NORMAL = 1000;
const GOING_AWAY = 1001;

export interface LinkOptions {
  /** HTTP base of the coordinator, no slash at the end. */
  coordinatorUrl: string;
  register: () => Register;
  heartbeat: () => Promise<Heartbeat>;
  /** A frame that was understood. It may throw nothing and must not block: what takes time runs beside. */
  receive: (message: CoordinatorMessage, connection: Connection) => void;
  /** The connection is gone, and every request that came over it. */
  lost: () => void;
  clock: Clock;
  random: () => number;
  log: Log;
}

/** One socket's life, for those who answer what came over it. */
export interface Connection {
  /** Resolves when the frame has left this process: awaiting it is the back-pressure. A frame for a connection that is
   *  gone is dropped; whoever waits for it learns that from `lost`. */
  send(message: ProviderMessage): Promise<void>;
}

/** Our connection to the coordinator, from start to close. */
export class Link {
  readonly #options: LinkOptions;
  readonly #address: string;
  #state: LinkState = { name: 'waiting', attempt: 0, delayMs: 0 };
  #since: number;
  #lastLoss: string | undefined;
  #socket: WebSocket | undefined;
  #connection: Connection | undefined;
  #timers: Disposable[] = [];
  /** The connection that is ending was given up because the machine slept. */
  #slept = false;
  readonly #online: (() => void)[] = [];

  constructor(options: LinkOptions) {
    this.#options = options;
    this.#address = socketAddress(options.coordinatorUrl);
    this.#since = options.clock.now();
  }

  get state(): LinkState {
    return this.#state;
  }

  /** When the state became what it is, ms since the epoch. */
  get since(): number {
    return this.#since;
  }

  /** Why the last connection ended, or the last try failed. */
  get lastLoss(): string | undefined {
    return this.#lastLoss;
  }

  /** Begins to dial, and goes on for ever. */
  start(): void {
    this.#wait();
  }

  /** Resolves when the link is online. */
  untilOnline(): Promise<void> {
    if (this.#state.name === 'online') return Promise.resolve();
    return new Promise((resolve) => this.#online.push(resolve));
  }

  /** Sends a heartbeat at once, for news that should not wait for the next one. */
  async report(): Promise<void> {
    if (this.#state.name === 'online' && this.#connection !== undefined) await this.#beat(this.#connection);
  }

  /** The machine slept. Whatever a socket says, its other end may have gone; so it is dialled anew, at once and with the
   *  waits from the beginning, because the failures before say nothing of the network now. */
  woke(): void {
    this.#options.log.info({ state: this.#state.name }, 'the machine slept; connecting anew');
    switch (this.#state.name) {
      case 'closed':
        return;
      case 'waiting':
        this.#stopTimers();
        this.#change({ type: 'woke' });
        this.#wait();
        return;
      case 'dialing':
      case 'registering':
      case 'online':
        this.#slept = true;
        this.#socket?.terminate(); // and what follows is in #lost
        return;
      default:
        this.#state satisfies never;
    }
  }

  async close(): Promise<void> {
    this.#change({ type: 'stop' });
    this.#stopTimers();
    const socket = this.#socket;
    if (socket === undefined || socket.readyState === WebSocket.CLOSED) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(() => socket.terminate(), CLOSE_TIMEOUT_MS);
      socket.once('close', () => {
        clearTimeout(timer);
        resolve();
      });
      socket.close(1000);
    });
  }

  #wait(): void {
    if (this.#state.name !== 'waiting') return;
    const { delayMs } = this.#state;
    this.#timers.push(this.#options.clock.after(delayMs, () => this.#dial()));
  }

  #dial(): void {
    this.#change({ type: 'timer' });
    const socket = new WebSocket(this.#address, {
      perMessageDeflate: false,
      maxPayload: MAX_PROVIDER_INBOUND_BYTES,
    });
    this.#socket = socket;
    const connection: Connection = { send: (message) => send(socket, message) };
    this.#connection = connection;
    let why = '';
    const giveUp = this.#options.clock.after(DIAL_TIMEOUT_MS, () => {
      why = `no answer within ${DIAL_TIMEOUT_MS / 1_000} s`;
      socket.terminate();
    });
    this.#timers.push(giveUp);
    socket.on('error', (error) => (why ||= error.message));
    socket.on('open', () => {
      giveUp[Symbol.dispose]();
      void this.#hello(socket, connection);
    });
    socket.on('message', (data, isBinary) =>
      this.#receive(isBinary ? '' : (data as Buffer).toString('utf8'), connection),
    );
    socket.on('close', (code, reason) => this.#lost(code, reason.toString('utf8') || why));
  }

  async #hello(socket: WebSocket, connection: Connection): Promise<void> {
    this.#change({ type: 'open' });
    await connection.send(this.#options.register());
    if (socket.readyState !== WebSocket.OPEN) return;
    this.#change({ type: 'sent' });
    this.#options.log.info({ coordinator: this.#options.coordinatorUrl }, 'link online');
    for (const resolve of this.#online.splice(0)) resolve();
    const { clock } = this.#options;
    this.#timers.push(
      every(clock, HEARTBEAT_PERIOD_MS, () => void this.#beat(connection)),
      this.#watch(socket),
    );
    await this.#beat(connection); // until then the coordinator guesses how many rows there are
  }

  async #beat(connection: Connection): Promise<void> {
    try {
      await connection.send(await this.#options.heartbeat());
    } catch (error) {
      this.#options.log.error({ err: error }, 'heartbeat failed');
    }
  }

  /** Pings, and drops a socket that stopped answering. */
  #watch(socket: WebSocket): Disposable {
    const { clock } = this.#options;
    let lastPong = clock.now();
    socket.on('pong', () => (lastPong = clock.now()));
    return every(clock, PING_PERIOD_MS, () => {
      if (clock.now() - lastPong > PONG_TIMEOUT_MS) socket.terminate();
      else socket.ping();
    });
  }

  #receive(frame: string, connection: Connection): void {
    const decoded = decodeCoordinatorFrame(frame);
    if (decoded.ok) this.#options.receive(decoded.message, connection);
    else this.#options.log.warn({ reason: decoded.reason }, 'frame ignored');
  }

  #lost(code: number, reason: string): void {
    const before = this.#state.name;
    const slept = this.#slept;
    this.#slept = false;
    this.#lastLoss = slept ? 'the machine slept' : reason === '' ? `closed with code ${code}` : reason;
    this.#stopTimers();
    const lasted = before === 'online' && this.#options.clock.now() - this.#since >= GOOD_AFTER_MS;
    const wasGood = lasted || (before === 'online' && (code === NORMAL || code === GOING_AWAY));
    const { random } = this.#options;
    this.#change(slept ? { type: 'woke' } : { type: 'lost', random: random(), wasGood });
    if (before === 'online' || before === 'registering') this.#options.lost();
    if (this.#state.name !== 'waiting') return;
    const { attempt, delayMs } = this.#state;
    const said = { attempt, delayMs: Math.round(delayMs), code, reason: this.#lastLoss };
    this.#options.log.warn(said, 'link lost');
    this.#wait();
  }

  #stopTimers(): void {
    for (const timer of this.#timers.splice(0)) timer[Symbol.dispose]();
  }

  #change(event: LinkEvent): void {
    const before = this.#state.name;
    this.#state = nextLinkState(this.#state, event);
    if (this.#state.name !== before) this.#since = this.#options.clock.now();
  }
}

function send(socket: WebSocket, message: ProviderMessage): Promise<void> {
  return new Promise((resolve) => {
    if (socket.readyState !== WebSocket.OPEN) resolve();
    else socket.send(encode(message), () => resolve());
  });
}

/** `https://host` → `wss://host/ws/provider`. */
function socketAddress(coordinatorUrl: string): string {
  return `${coordinatorUrl.replace(/^http/u, 'ws')}/ws/provider`;
}
