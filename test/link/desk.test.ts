import { describe, expect, test } from 'vitest';
import { Channel, newKeyPair } from '../../src/crypto/box.js';
import { Identity } from '../../src/crypto/identity.js';
import { Desk } from '../../src/link/desk.js';
import { Downloads } from '../../src/link/downloads.js';
import { Jobs } from '../../src/link/jobs.js';
import { readPosture, type Posture } from '../../src/machine/posture.js';
import type { AttestationChallenge, CoordinatorMessage } from '../../src/protocol/coordinator-messages.js';
import { ManualClock } from '../support/manual-clock.js';
import { RecordedLog } from '../support/recorded-log.js';
import { ScriptedGenerator } from '../support/scripted-generators.js';
import { RecordedConnection } from './recorded-connection.js';

/** A machine that has none of the tools that tell about it. */
const POSTURE: Posture = await readPosture(
  { run: () => Promise.resolve({ code: 'missing', stdout: '', stderr: '' }) },
  'linux',
  {},
);
const FIRST: AttestationChallenge = {
  type: 'attestation_challenge',
  nonce: 'Zmlyc3Q=',
  timestamp: '2026-06-21T15:04:05Z',
};
const SECOND: AttestationChallenge = { ...FIRST, nonce: 'c2Vjb25k' };

/** A desk whose looks at the machine take as long as a test wants. */
function play(generator = new ScriptedGenerator()) {
  const identity = new Identity();
  const log = new RecordedLog();
  const connection = new RecordedConnection();
  const refuse = () => undefined;
  const jobs = new Jobs({ generator, identity, refuse, clock: new ManualClock(), log: log.log });
  const looks: { resolve: (posture: Posture) => void; reject: (error: Error) => void }[] = [];
  const loaded: string[] = [];
  const desk = new Desk({
    jobs,
    identity,
    models: [],
    posture: () => new Promise((resolve, reject) => looks.push({ resolve, reject })),
    isLoaded: (model) => loaded.includes(model),
    load: (model) => Promise.resolve(void loaded.push(model)),
    downloads: new Downloads({ models: [], fetch: undefined, refuse, clock: new ManualClock(), log: log.log }),
    refuse,
    log: log.log,
  });
  const channel = new Channel(newKeyPair(), identity.box.publicKey);
  return {
    desk,
    jobs,
    log,
    connection,
    looks,
    loaded,
    receive: (message: CoordinatorMessage) => desk.receive(message, connection),
    ask: (request_id: string) =>
      desk.receive(
        {
          type: 'inference_request',
          request_id,
          encrypted_body: channel.seal(
            JSON.stringify({ model: 'local/tiny', messages: [{ role: 'user', content: 'Hi' }] }),
          ),
        },
        connection,
      ),
  };
}

describe('a challenge', () => {
  test('is answered with its nonce after a look at the machine', async () => {
    const { receive, looks, connection } = play();
    receive(FIRST);
    expect(connection.frames).toEqual([]);
    looks[0]?.resolve(POSTURE);
    await connection.until('attestation_response');
    expect(connection.frames).toMatchObject([{ nonce: FIRST.nonce, sip_enabled: false }]);
  });

  test('that comes while another is answered is dropped: a flood of them is one look at the machine', async () => {
    const { receive, looks, connection } = play();
    for (let time = 0; time < 100; time++) receive(time === 0 ? FIRST : SECOND);
    expect(looks).toHaveLength(1);
    looks[0]?.resolve(POSTURE);
    await connection.until('attestation_response');
    await new Promise(setImmediate);
    expect(connection.framesOf('attestation_response').map(({ nonce }) => nonce)).toEqual([FIRST.nonce]);

    receive(SECOND);
    looks[1]?.resolve(POSTURE);
    await connection.until('attestation_response', 2);
    expect(connection.framesOf('attestation_response')[1]?.nonce).toBe(SECOND.nonce);
  });

  test('that cannot be answered is logged, and the next one is answered', async () => {
    const { receive, looks, connection, log } = play();
    receive(FIRST);
    looks[0]?.reject(new Error('no tool'));
    await new Promise(setImmediate);
    expect(log.text).toContain('a challenge could not be answered');
    receive(SECOND);
    looks[1]?.resolve(POSTURE);
    await connection.until('attestation_response');
    expect(connection.frames).toMatchObject([{ nonce: SECOND.nonce }]);
  });

  test('does not hold up a request', async () => {
    const { receive, ask, jobs, connection } = play(new ScriptedGenerator({ says: ['Hi'] }));
    receive(FIRST);
    ask('request-1');
    await jobs.settled();
    expect(connection.types.at(-1)).toBe('inference_complete');
    expect(connection.types).not.toContain('attestation_response');
  });
});

describe('what the coordinator says of this machine', () => {
  test('is nothing until it says something', () => {
    expect(play().desk.view).toBeUndefined();
  });

  test('that it accepts the runtime', () => {
    const { desk, receive } = play();
    receive({ type: 'runtime_status', verified: true });
    expect(desk.view).toEqual({ runtimeVerified: true, mismatches: [] });
  });

  test('that it does not, and why, in words and in the log', () => {
    const { desk, receive, log } = play();
    receive({
      type: 'runtime_status',
      verified: false,
      mismatches: [{ component: 'backend', expected: 'mlx-swift', got: 'llama.cpp' }, { component: 'runtime' }],
    });
    expect(desk.view).toEqual({
      runtimeVerified: false,
      mismatches: ['backend: wants mlx-swift, this is llama.cpp', 'runtime: wants another, this is not told'],
    });
    expect(log.text).toContain('not routable here');
    receive({ type: 'runtime_status', verified: true });
    expect(desk.view).toEqual({ runtimeVerified: true, mismatches: [] });
  });

  test('its trust stands beside it; a reason that is not said again is gone', () => {
    const { desk, receive } = play();
    const trust = { type: 'trust_status', trust_level: 'none', status: 'untrusted' } as const;
    receive({ type: 'runtime_status', verified: true });
    receive({ ...trust, reason: 'SIP is off' });
    const view = { runtimeVerified: true, mismatches: [], trustLevel: 'none' };
    expect(desk.view).toEqual({ ...view, trustStatus: 'untrusted', trustReason: 'SIP is off' });
    receive({ ...trust, status: 'online' });
    expect(desk.view).toEqual({ ...view, trustStatus: 'online' });
  });

  test('which models it wishes for changes nothing', () => {
    const { desk, receive, connection, loaded } = play();
    receive({ type: 'desired_models', models: [] });
    expect([desk.view, connection.frames, loaded]).toEqual([undefined, [], []]);
  });

  test('is forgotten with the connection, and every request that came over it ends', async () => {
    const { desk, receive, ask, jobs, connection } = play(new ScriptedGenerator({ says: ['Hel'], hangs: true }));
    receive({ type: 'runtime_status', verified: true });
    ask('request-1');
    ask('request-2');
    await connection.until('inference_response_chunk', 4);
    expect(jobs.running).toBe(2);
    desk.lost();
    await jobs.settled();
    expect(desk.view).toBeUndefined();
    expect(jobs.running).toBe(0);
  });
});

test('a frame goes to who answers it: a request is written, a cancel ends that one, an order is obeyed or declined', async () => {
  const { receive, ask, jobs, connection, loaded } = play(new ScriptedGenerator({ says: ['Hel'], hangs: true }));
  ask('request-1');
  ask('request-2');
  await connection.until('inference_response_chunk', 4);
  receive({ type: 'cancel', request_id: 'request-1' });
  await connection.until('inference_complete');
  expect(connection.framesOf('inference_complete').map(({ request_id }) => request_id)).toEqual(['request-1']);
  await new Promise(setImmediate); // its job ends behind its last frame
  expect(jobs.running).toBe(1);
  receive({ type: 'load_model', model_id: 'local/tiny' });
  receive({ type: 'prefetch_model', model_id: 'local/other' });
  await connection.until('load_model_status', 2);
  await connection.until('prefetch_model_status');
  expect(loaded).toEqual(['local/tiny']);
  receive({ type: 'cancel', request_id: 'request-2' });
  await jobs.settled();
});
