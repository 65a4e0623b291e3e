import { describe, expect, test } from 'vitest';
import { silentLog } from '../../src/log.js';
import type { PowerSource } from '../../src/machine/power.js';
import { KeepAwake, startHolder, wantsAwake, type Holder, type KeepAwakeMode } from '../../src/service/keep-awake.js';
import { ManualClock } from '../support/manual-clock.js';

const LOOK_EVERY_MS = 15_000;
const PID = 4242;

describe('idle sleep is held off', () => {
  const sources = ['ac', 'battery', 'ups', undefined] as const;
  test.each([
    ['on_ac', 0, [true, false, false, false]],
    ['on_ac', 2, [true, false, false, false]],
    ['busy', 0, [false, false, false, false]],
    ['busy', 2, [true, true, true, true]],
    ['never', 0, [false, false, false, false]],
    ['never', 2, [false, false, false, false]],
  ] as const)('with %s and %d requests, on mains, battery, UPS, unknown: %j', (mode, running, expected) => {
    expect(sources.map((source) => wantsAwake(mode, source, running))).toEqual(expected);
  });
});

/** A Mac whose power, requests and caffeinate a test changes. */
class Desk {
  readonly clock = new ManualClock();
  readonly started: string[] = [];
  readonly holders: (Holder & { end: () => void })[] = [];
  mode: KeepAwakeMode = 'on_ac';
  source: PowerSource | undefined = 'ac';
  running = 0;
  powerAsked = 0;

  start(platform: NodeJS.Platform = 'darwin'): KeepAwake {
    return KeepAwake.start({
      mode: () => this.mode,
      requestsRunning: () => this.running,
      powerSource: () => {
        this.powerAsked++;
        return Promise.resolve(this.source);
      },
      start: (path, args) => {
        this.started.push([path, ...args].join(' '));
        let end: () => void = () => undefined;
        const ended = new Promise<void>((resolve) => (end = resolve));
        const holder = { ended, end };
        this.holders.push(holder);
        return holder;
      },
      pid: PID,
      platform,
      clock: this.clock,
      log: silentLog(),
    });
  }

  async lookAgain(): Promise<void> {
    this.clock.turn(LOOK_EVERY_MS);
    await new Promise(setImmediate);
  }
}

describe('caffeinate', () => {
  test('holds for this process, is started once, and ends when it is not wanted', async () => {
    const desk = new Desk();
    const awake = desk.start();
    await awake.look();
    await desk.lookAgain();
    expect(desk.started).toEqual([`/usr/bin/caffeinate -i -s -w ${PID}`]);
    expect(awake.holding).toBe(true);
    desk.source = 'battery';
    await desk.lookAgain();
    expect(awake.holding).toBe(false);
    desk.source = 'ac';
    await desk.lookAgain();
    expect(desk.started).toHaveLength(2);
    await awake.close();
    expect(awake.holding).toBe(false);
    expect(desk.clock.pending).toBe(0);
  });

  test('follows the requests without asking for the power source', async () => {
    const desk = new Desk();
    desk.mode = 'busy';
    const awake = desk.start();
    await awake.look();
    expect(awake.holding).toBe(false);
    desk.running = 1;
    await awake.look();
    expect(awake.holding).toBe(true);
    desk.running = 0;
    await desk.lookAgain();
    expect(awake.holding).toBe(false);
    expect(desk.powerAsked).toBe(0);
    await awake.close();
  });

  test('that someone else ends is started again', async () => {
    const desk = new Desk();
    const awake = desk.start();
    await awake.look();
    desk.holders[0]?.end();
    await desk.lookAgain();
    expect([desk.started.length, awake.holding]).toEqual([2, true]);
    await awake.close();
  });

  test('is never started with never, after the end, or on another system', async () => {
    const desk = new Desk();
    desk.mode = 'never';
    const never = desk.start();
    await never.look();
    await never.close();
    desk.mode = 'on_ac';
    await never.look();
    const elsewhere = desk.start('linux');
    await elsewhere.look();
    await elsewhere.close();
    expect(desk.started).toEqual([]);
  });
});

describe('the real starter', () => {
  test('ends a process that runs', async () => {
    const holder = startHolder('/bin/sleep', ['600']);
    holder.end();
    await holder.ended;
  });

  test('takes a tool that is missing for one that has ended', async () => {
    await startHolder('/usr/bin/no-such-tool', []).ended;
  });
});
