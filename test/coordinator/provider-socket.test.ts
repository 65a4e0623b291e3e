import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { Identity } from '../../src/crypto/identity.js';
import { Heartbeat, Register } from '../../src/protocol/provider-messages.js';
import { ownFixture } from '../support/shared-fixtures.js';
import { DiallingProvider } from './dialling-provider.js';
import { StartedCoordinator } from './started-coordinator.js';

const { register, heartbeat } = z
  .object({ messages: z.object({ register: Register, heartbeat: Heartbeat }) })
  .parse(ownFixture('wire/honest_provider.json')).messages;
const CHALLENGE_PERIOD_MS = 5 * 60_000;
const WORD = { type: 'trust_status', trust_level: 'none', status: 'untrusted' } as const;

let stage: StartedCoordinator;
let provider: DiallingProvider;
beforeEach(async () => {
  stage = await StartedCoordinator.start();
  provider = await DiallingProvider.dial(stage.coordinator.url);
  provider.say({ ...register, auth_token: undefined });
  await provider.heard();
});
afterEach(async () => {
  provider[Symbol.dispose]();
  await stage[Symbol.asyncDispose]();
});

/** Time passes, and heartbeats keep coming: the machine is there. */
async function pass(ms: number): Promise<void> {
  for (let left = ms; left > 0; left -= 30_000) {
    stage.clock.turn(Math.min(left, 30_000));
    provider.say(heartbeat);
    await provider.heard();
  }
}

async function answer(nonce: string): Promise<void> {
  provider.say({ type: 'attestation_response', nonce, signature: 'x', public_key: register.public_key ?? '' });
  await provider.heard();
}

test('a machine that answers no challenge is told after the third, and cut off after the sixth', async () => {
  await provider.next('attestation_challenge');
  await pass(2 * CHALLENGE_PERIOD_MS + 30_000);
  expect(await provider.next('trust_status')).toEqual({
    ...WORD,
    reason: '3 challenges in a row were not answered',
  });
  await pass(3 * CHALLENGE_PERIOD_MS);
  expect(await provider.closed).toEqual([1008, 'attestation unresponsive — reconnect required']);
});

test('one that answers again before that is trusted again', async () => {
  await pass(2 * CHALLENGE_PERIOD_MS + 30_000);
  for (let missed = 0; missed < 3; missed++) await provider.next('attestation_challenge');
  await provider.next('trust_status');
  await pass(CHALLENGE_PERIOD_MS - 30_000);
  await answer((await provider.next('attestation_challenge')).nonce);
  expect(await provider.next('trust_status')).toEqual({ ...WORD, status: 'online' });
});

test('one that answers three challenges wrongly is told, and stays without trust whatever it answers then', async () => {
  for (let time = 0; time < 3; time++) {
    await provider.next('attestation_challenge');
    await answer('d3Jvbmc=');
    await pass(CHALLENGE_PERIOD_MS);
  }
  const told = { ...WORD, reason: '3 answers in a row to its challenges were wrong' };
  expect(await provider.next('trust_status')).toEqual(told);
  await answer((await provider.next('attestation_challenge')).nonce);
  expect(stage.coordinator.fleet.machines.map(({ mistrust }) => mistrust)).toEqual([told.reason]);
});

describe('a provider that connects anew', () => {
  const linked = () => {
    const { accounts, owner } = stage.coordinator;
    return { ...register, auth_token: accounts.mintProviderToken(owner.id, 'test') };
  };
  /** Another connection that registers. */
  const connects = async (frame: typeof register) => {
    const other = await DiallingProvider.dial(stage.coordinator.url);
    other.say(frame);
    await other.heard();
    return other;
  };

  test('with the key of its process replaces its older connection, whose requests fail at once', async () => {
    const frame = linked();
    using before = await connects(frame);
    const { fleet } = stage.coordinator;
    const [older] = fleet.sessions.filter(({ machine }) => machine.accountId !== undefined);
    const attempt = older?.start('local/tiny', {});
    using _after = await connects(frame);
    expect(fleet.sessions.filter(({ machine }) => machine.accountId !== undefined)).toHaveLength(1);
    expect(fleet.session(older?.id ?? '')).toBeUndefined();
    const reading = (async () => {
      for await (const event of attempt?.events ?? []) throw new Error(event.type);
    })();
    await expect(reading).rejects.toThrow('provider disconnected');
    expect(await before.closed).toEqual([1008, 'replaced by a newer connection']);
  });

  test.each([
    [
      'with the key of another process',
      (frame: typeof register) => ({ ...frame, public_key: new Identity().publicKey }),
    ],
    ['as linked to nobody', (frame: typeof register) => ({ ...frame, auth_token: undefined })],
  ])('%s replaces nothing', async (_, changed) => {
    const frame = linked();
    using _before = await connects(frame);
    using _after = await connects(changed(frame));
    expect(stage.coordinator.fleet.sessions).toHaveLength(3);
  });
});
