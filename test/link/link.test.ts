import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { Link, type Connection } from '../../src/link/link.js';
import { silentLog } from '../../src/log.js';
import type { CoordinatorMessage } from '../../src/protocol/coordinator-messages.js';
import { Heartbeat, Register } from '../../src/protocol/provider-messages.js';
import { eventually } from '../support/eventually.js';
import { ManualClock } from '../support/manual-clock.js';
import { ownFixture } from '../support/shared-fixtures.js';
import { DeafServer } from './deaf-server.js';
import { DialledServer, type Dialled } from './dialled-server.js';

const { register, heartbeat } = z
  .object({ messages: z.object({ register: Register, heartbeat: Heartbeat }) })
  .parse(ownFixture('wire/honest_provider.json')).messages;

const TRUST = { type: 'trust_status', trust_level: 'none', status: 'online' } as const;

/** A link to a server of the test, and what it tells its owner. */
class LinkStage implements AsyncDisposable {
  readonly clock = new ManualClock();
  readonly server: DialledServer;
  readonly link: Link;
  readonly received: { message: CoordinatorMessage; connection: Connection }[] = [];
  lost = 0;
  /** Losses, of connections and of attempts to dial. */
  losses = 0;
  random = 0.5;
  heartbeat = () => Promise.resolve(heartbeat);
  readonly #waiting: (() => void)[] = [];

  private constructor(server: DialledServer) {
    this.server = server;
    this.link = new Link({
      coordinatorUrl: server.url,
      register: () => register,
      heartbeat: () => this.heartbeat(),
      receive: (message, connection) => {
        this.received.push({ message, connection });
        this.#wake();
      },
      lost: () => void this.lost++,
      clock: this.clock,
      random: () => {
        this.losses++;
        this.#wake();
        return this.random;
      },
      log: silentLog(),
    });
  }

  static async start(options: Parameters<typeof DialledServer.listen>[0] = {}): Promise<LinkStage> {
    const stage = new LinkStage(await DialledServer.listen(options));
    stage.link.start();
    return stage;
  }

  /** Lets the link dial, and waits until it is online. */
  async online(delayMs = 0): Promise<Dialled> {
    this.clock.turn(delayMs);
    const connection = await this.server.connection();
    await this.link.untilOnline();
    return connection;
  }

  #wake(): void {
    for (const wake of this.#waiting.splice(0)) wake();
  }

  async #until(holds: () => boolean): Promise<void> {
    while (!holds()) await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  /** Resolves when the link has lost so many connections and attempts. */
  async untilLost(losses: number): Promise<void> {
    await this.#until(() => this.losses >= losses);
  }

  /** Resolves when the link waits to dial: for a loss that draws no wait. */
  async untilWaiting(): Promise<void> {
    await eventually('the link waits', () => (this.link.state.name === 'waiting' ? true : undefined));
  }

  async untilReceived(frames: number): Promise<void> {
    await this.#until(() => this.received.length >= frames);
  }

  /** Everything that the server sent before has arrived. */
  async caughtUp(connection: Dialled): Promise<void> {
    const before = this.received.length;
    connection.sendText(JSON.stringify(TRUST));
    await this.untilReceived(before + 1);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.link.close();
    await this.server[Symbol.asyncDispose]();
  }
}

describe('a link', () => {
  test('registers first, and is online then', async () => {
    await using stage = await LinkStage.start();
    expect(stage.link.state).toEqual({ name: 'waiting', attempt: 0, delayMs: 0 });
    const connection = await stage.online();
    expect(await connection.frame()).toBe('register');
    expect(stage.link.state).toEqual({ name: 'online', attempt: 0 });
    await stage.link.untilOnline(); // at once
  });

  test('sends its first heartbeat at once, and one every 5 seconds', async () => {
    await using stage = await LinkStage.start();
    const connection = await stage.online();
    expect([await connection.frame(), await connection.frame()]).toEqual(['register', 'heartbeat']);
    let beats = 0;
    stage.heartbeat = () => Promise.resolve({ ...heartbeat, stats: { ...heartbeat.stats, requests_served: ++beats } });
    stage.clock.turn(4_999);
    expect(beats).toBe(0);
    stage.clock.turn(10_001);
    for (let beat = 0; beat < 3; beat++) expect(await connection.frame()).toBe('heartbeat');
    expect(beats).toBe(3);
  });

  test('survives a heartbeat that could not be made', async () => {
    await using stage = await LinkStage.start();
    stage.heartbeat = () => Promise.reject(new Error('no facts'));
    const connection = await stage.online();
    stage.clock.turn(5_000);
    await stage.caughtUp(connection);
    stage.heartbeat = () => Promise.resolve(heartbeat);
    stage.clock.turn(5_000);
    expect([await connection.frame(), await connection.frame()]).toEqual(['register', 'heartbeat']);
  });

  test('reports at once when it is told to, and not while it is away', async () => {
    await using stage = await LinkStage.start();
    await stage.link.report();
    const connection = await stage.online();
    expect([await connection.frame(), await connection.frame()]).toEqual(['register', 'heartbeat']);
    await stage.link.report();
    expect(await connection.frame()).toBe('heartbeat');
  });

  test('hands on what it understands, with the way to answer, and keeps the connection through what it does not', async () => {
    await using stage = await LinkStage.start();
    const connection = await stage.online();
    for (const text of ['no json', '{}', '[]', '{"type":"new"}', '{"type":"cancel"}']) connection.sendText(text);
    connection.sendText('{"type":"cancel","request_id":"r","more":1}');
    await stage.untilReceived(1);
    expect(stage.received.map(({ message }) => message)).toEqual([{ type: 'cancel', request_id: 'r' }]);
    await stage.received[0]?.connection.send({ type: 'inference_accepted', request_id: 'r' });
    for (const type of ['register', 'heartbeat', 'inference_accepted']) expect(await connection.frame()).toBe(type);
    expect([stage.server.knocks, stage.losses]).toEqual([1, 0]);
  });
});

describe('a connection', () => {
  test('is pinged every 10 seconds and kept for as long as it answers', async () => {
    await using stage = await LinkStage.start();
    const connection = await stage.online();
    for (let minute = 0; minute < 12; minute++) {
      stage.clock.turn(10_000);
      await connection.ping();
      await stage.caughtUp(connection); // and so has the pong
    }
    expect([stage.server.knocks, stage.losses]).toEqual([1, 0]);
  });

  test('that gave no pong for more than 30 seconds is given up, and dialled again', async () => {
    await using stage = await LinkStage.start({ autoPong: false });
    const connection = await stage.online();
    for (let tick = 0; tick < 3; tick++) {
      stage.clock.turn(10_000);
      await connection.ping();
    }
    expect(stage.losses).toBe(0);
    stage.clock.turn(10_000);
    await stage.untilLost(1);
    expect(await connection.closed).toBe(1006);
    expect(stage.lost).toBe(1);
    expect(await (await stage.online(1_000)).frame()).toBe('register');
  });

  test('that is gone takes its requests and its timers with it; what is still sent over it goes nowhere', async () => {
    await using stage = await LinkStage.start();
    const first = await stage.online();
    await stage.caughtUp(first);
    first.drop();
    await stage.untilLost(1);
    expect([stage.lost, stage.link.state.name, stage.clock.pending]).toEqual([1, 'waiting', 1]);
    const second = await stage.online(2_000); // dropped at once: the second wait, not the first
    await stage.received[0]?.connection.send({ type: 'inference_accepted', request_id: 'of the first' });
    stage.clock.turn(5_000);
    for (const type of ['register', 'heartbeat', 'heartbeat']) expect(await second.frame()).toBe(type);
  });
});

describe('the wait before dialling again', () => {
  test('grows while nobody lets it in, has jitter, and begins anew once it was online', async () => {
    await using stage = await LinkStage.start();
    stage.server.accepts = false;
    const waits: unknown[] = [];
    stage.clock.turn(0);
    for (const [attempt, random] of [0.5, 0, 1, 0.5, 0.5, 0.5].entries()) {
      stage.random = random;
      await stage.untilLost(attempt + 1);
      const { state } = stage.link;
      waits.push(state.name === 'waiting' ? state.delayMs : state.name);
      if (state.name !== 'waiting') break;
      stage.clock.turn(state.delayMs - 1);
      expect(stage.server.knocks).toBe(attempt + 1);
      if (attempt === 5) stage.server.accepts = true;
      stage.clock.turn(1);
    }
    expect(waits).toEqual([1_500, 2_000, 8_000, 12_000, 22_500, 22_500]);
    expect(stage.lost).toBe(0); // there was no connection yet

    const connection = await stage.server.connection();
    await stage.link.untilOnline();
    stage.clock.turn(30_000);
    connection.drop();
    await stage.untilLost(7);
    expect(stage.link.state).toEqual({ name: 'waiting', attempt: 0, delayMs: 750 });
    await stage.online(750);
  });
});

describe('when the machine slept', () => {
  test('a connection is given up and dialled at once, its requests are lost, and its end is told as what it was', async () => {
    await using stage = await LinkStage.start();
    const before = await stage.online();
    stage.link.woke();
    expect(await before.closed).toBe(1006);
    await stage.untilWaiting();
    const after = await stage.online();
    expect(await after.frame()).toBe('register');
    expect([stage.lost, stage.link.lastLoss, stage.losses]).toEqual([1, 'the machine slept', 0]); // no wait was drawn
    expect(stage.link.state).toEqual({ name: 'online', attempt: 0 });
  });

  test('a wait ends at once and the next ones begin anew', async () => {
    await using stage = await LinkStage.start();
    stage.server.accepts = false;
    stage.clock.turn(0);
    for (const losses of [1, 2, 3]) {
      await stage.untilLost(losses);
      const { state } = stage.link;
      if (state.name === 'waiting' && losses < 3) stage.clock.turn(state.delayMs);
    }
    expect(stage.link.state).toMatchObject({ name: 'waiting', attempt: 3 });
    stage.link.woke();
    stage.clock.turn(0);
    await stage.untilLost(4);
    expect(stage.server.knocks).toBe(4);
    expect(stage.link.state).toEqual({ name: 'waiting', attempt: 1, delayMs: 1_500 });
  });

  test('a dial that is under way is given up for a new one', async () => {
    await using stage = await LinkStage.start();
    stage.clock.turn(0);
    expect(stage.link.state.name).toBe('dialing');
    stage.link.woke();
    await stage.untilWaiting();
    await stage.online();
    expect(stage.link.state).toEqual({ name: 'online', attempt: 0 });
  });

  test('a link that was closed stays so', async () => {
    await using stage = await LinkStage.start();
    await stage.link.close();
    stage.link.woke();
    expect([stage.link.state, stage.clock.pending]).toEqual([{ name: 'closed' }, 0]);
  });
});

describe('closing', () => {
  test('says goodbye, and nothing happens any more', async () => {
    await using stage = await LinkStage.start();
    const connection = await stage.online();
    await stage.link.close();
    expect(await connection.closed).toBe(1000);
    expect([stage.link.state, stage.clock.pending]).toEqual([{ name: 'closed' }, 0]);
    stage.clock.turn(3_600_000);
    await stage.link.report();
    stage.link.start();
    expect([stage.server.knocks, stage.clock.pending]).toEqual([1, 0]);
    await stage.link.close(); // again, at once
  });

  test('while it waits leaves no timer behind', async () => {
    await using stage = await LinkStage.start();
    (await stage.online()).drop();
    await stage.untilLost(1);
    await stage.link.close();
    expect([stage.link.state.name, stage.clock.pending]).toEqual(['closed', 0]);
  });

  test('while it dials gives that up', async () => {
    await using stage = await LinkStage.start();
    stage.clock.turn(0);
    expect(stage.link.state.name).toBe('dialing');
    await stage.link.close();
    expect([stage.link.state.name, stage.clock.pending]).toEqual(['closed', 0]);
  });

  test('before it began is nothing', async () => {
    await using stage = await LinkStage.start();
    await stage.link.close();
    stage.clock.turn(1_000);
    expect(stage.server.knocks).toBe(0);
  });
});

test('a dial that nobody answers is given up after 15 seconds of its clock, and tried again', async () => {
  await using deaf = await DeafServer.listen();
  const clock = new ManualClock();
  const link = new Link({
    coordinatorUrl: deaf.url,
    register: () => register,
    heartbeat: () => Promise.resolve(heartbeat),
    receive: () => undefined,
    lost: () => undefined,
    clock,
    random: () => 0.5,
    log: silentLog(),
  });
  link.start();
  clock.turn(0);
  await deaf.dialled();
  clock.turn(14_999);
  expect(link.state.name).toBe('dialing');
  clock.turn(1);
  await eventually('the link waits', () => link.state.name === 'waiting' || undefined);
  expect(link.lastLoss).toBe('no answer within 15 s');
  clock.turn(2_000);
  await deaf.dialled();
  await link.close();
  expect(clock.pending).toBe(0);
});
