import type { Server } from 'node:http';
import { WebSocketServer, type WebSocket } from 'ws';
import type { Log } from '../log.js';
import { decodeProviderFrame, encode } from '../protocol/codec.js';
import type { CoordinatorMessage } from '../protocol/coordinator-messages.js';
import {
  CHALLENGE_PERIOD_MS,
  MAX_COORDINATOR_INBOUND_BYTES,
  STALE_AFTER_MS,
  SWEEP_PERIOD_MS,
} from '../protocol/limits.js';
import type { Register } from '../protocol/provider-messages.js';
import { every, type Clock } from '../util/clock.js';
import { machineIdOf, type Accounts } from './accounts.js';
import type { Fleet } from './fleet.js';
import { desiredOf } from './desired-models.js';
import { ProviderSession } from './provider-session.js';
import { NOT_LINKED } from './trust.js';
import type { Registry } from './registry.js';

const PATH = '/ws/provider';
/** WebSocket close code: a fault on this side. */
const INTERNAL_ERROR = 1011;
const POLICY_VIOLATION = 1008;
const NORMAL = 1000;
const CLOSE_TIMEOUT_MS = 1_000;
/** From the open socket to its `register`. */
const REGISTER_TIMEOUT_MS = 10_000;
/** Sockets at once; a household has a few machines. */
const MAX_SOCKETS = 500;
/** A provider that does not read is cut off when so much waits for it. */
const MAX_OUTBOUND_BYTES = 64 * 1024 * 1024;

interface SocketOptions {
  accounts: Accounts;
  registry: Registry;
  fleet: Fleet;
  clock: Clock;
  log: Log;
}

/** The coordinator's end of the wire: accepts provider sockets on an HTTP server. */
export class ProviderSocket {
  readonly #server: WebSocketServer;
  readonly #options: SocketOptions;

  constructor(http: Server, options: SocketOptions) {
    this.#options = options;
    this.#server = new WebSocketServer({
      noServer: true,
      perMessageDeflate: false,
      maxPayload: MAX_COORDINATOR_INBOUND_BYTES,
    });
    http.on('upgrade', (request, socket, head) => {
      socket.on('error', () => socket.destroy()); // a peer that hangs up must not end the process
      if (pathOf(request.url) !== PATH) {
        socket.end('HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\n');
        return;
      }
      if (this.#server.clients.size >= MAX_SOCKETS) {
        socket.end('HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\n\r\n');
        return;
      }
      this.#server.handleUpgrade(request, socket, head, (accepted) => this.#accept(accepted));
    });
  }

  /** One provider: `register` first, then everything else until the socket is gone. */
  #accept(socket: WebSocket): void {
    const { log, fleet, clock } = this.#options;
    let session: ProviderSession | undefined;
    const timers = [clock.after(REGISTER_TIMEOUT_MS, () => leave(POLICY_VIOLATION, 'register first'))];
    /** Nothing is sent there any more, also when the peer does not hear the goodbye. */
    const leave = (code: number, reason?: string) => {
      for (const timer of timers.splice(0)) timer[Symbol.dispose]();
      if (session !== undefined) fleet.remove(session);
      if (socket.readyState === socket.CLOSED) return;
      socket.close(code, reason);
      const timer = setTimeout(() => socket.terminate(), CLOSE_TIMEOUT_MS);
      socket.once('close', () => clearTimeout(timer));
    };
    const receive = (frame: string) => {
      const decoded = decodeProviderFrame(frame);
      if (!decoded.ok) {
        log.warn({ reason: decoded.reason }, 'frame ignored');
      } else if (session !== undefined) {
        session.receive(decoded.message);
      } else if (decoded.message.type === 'register') {
        for (const timer of timers.splice(0)) timer[Symbol.dispose]();
        session = this.#welcome(decoded.message, socket, (reason) => leave(POLICY_VIOLATION, reason));
        timers.push(...this.#watch(session, socket));
      } else {
        log.warn({ reason: `${decoded.message.type} before register` }, 'frame ignored');
      }
    };
    socket.on('error', (error) => log.warn({ reason: error.message }, 'provider socket failed'));
    socket.on('message', (data, isBinary) => {
      if (socket.readyState !== socket.OPEN) return; // it is leaving
      try {
        receive(isBinary ? '' : (data as Buffer).toString('utf8'));
      } catch (error) {
        log.error({ err: error }, 'a provider frame could not be handled');
        leave(INTERNAL_ERROR);
      }
    });
    socket.on('close', () => {
      leave(NORMAL);
      if (session !== undefined) log.info({ provider: session.id }, 'provider left');
    });
  }

  #welcome(register: Register, socket: WebSocket, hangUp: (reason: string) => void): ProviderSession {
    const { accounts, registry, fleet, clock, log } = this.#options;
    const { auth_token: token } = register;
    const account = token === undefined ? undefined : accounts.accountOfProviderToken(token);
    const session = new ProviderSession(register, {
      accountId: account?.id,
      machineId: token === undefined || account === undefined ? undefined : machineIdOf(token),
      send: (message) => send(socket, message),
      hangUp,
      changed: () => fleet.changed(),
      clock,
      log,
    });
    const { hardware, backend, version, models } = register;
    log.info(
      {
        provider: session.id,
        account: account?.name,
        chip: hardware.chip_name,
        backend,
        version,
        models: models.length,
      },
      'provider registered',
    );
    if (!session.machine.encrypted)
      log.warn({ provider: session.id }, 'this provider cannot be sealed to and gets no request');
    const before = fleet.sessions.filter((other) => other.isSameProcess(session));
    fleet.add(session);
    session.challenge();
    session.tell(desiredOf(session, registry));
    if (token !== undefined && account === undefined) {
      log.warn({ provider: session.id }, 'a provider came with a link token that is not valid');
      session.tell({ type: 'trust_status', trust_level: 'none', status: 'untrusted', reason: NOT_LINKED });
    }
    for (const other of before) other.replaced(); // its socket may look open for minutes
    return session;
  }

  /** Challenges again and again, and drops a provider that was silent at two looks in a row. */
  #watch(session: ProviderSession, socket: WebSocket): Disposable[] {
    const { clock, log } = this.#options;
    let strikes = 0;
    return [
      every(clock, CHALLENGE_PERIOD_MS, () => session.challenge()),
      every(clock, SWEEP_PERIOD_MS, () => {
        strikes = clock.now() - session.heardAt > STALE_AFTER_MS ? strikes + 1 : 0;
        if (strikes < 2) return;
        log.warn({ provider: session.id }, 'provider was silent too long');
        socket.terminate();
      }),
    ];
  }

  /** Ends every provider's connection. */
  async close(): Promise<void> {
    const sockets = [...this.#server.clients];
    const ended = sockets.map((socket) => new Promise<void>((resolve) => socket.once('close', () => resolve())));
    for (const socket of sockets) socket.close(1001);
    const timer = setTimeout(() => sockets.forEach((socket) => socket.terminate()), CLOSE_TIMEOUT_MS);
    await Promise.all(ended);
    clearTimeout(timer);
    this.#server.close();
  }
}

/** The path of a request's target, which may be any text. */
function pathOf(target = '/'): string {
  return target.split('?', 1)[0] ?? '';
}

function send(socket: WebSocket, message: CoordinatorMessage): void {
  if (socket.readyState !== socket.OPEN) return;
  if (socket.bufferedAmount > MAX_OUTBOUND_BYTES) socket.terminate();
  else socket.send(encode(message));
}
