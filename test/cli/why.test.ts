import { expect, test } from 'vitest';
import { whyOf, whyOfCanary, type Canary, type Finding } from '../../src/cli/why.js';
import { BlockedStatus, Status } from '../../src/service/status.js';

const URL = 'http://studio.local:8787';

function status(changes: object = {}, connection: object = {}): Status {
  return Status.parse({
    schema_version: 1,
    version: '0.7.0',
    pid: 1,
    started_at: '2026-11-22T10:00:00.000Z',
    state: 'serving',
    mode: 'linked',
    base_url: 'http://127.0.0.1:8000/v1',
    home: '/h',
    connection: { state: 'online', coordinator_url: URL, since: '2026-11-22T10:00:00.000Z', ...connection },
    models: [],
    memory: { limit_bytes: 1, used_bytes: 0 },
    requests: { running: 0, waiting: 0, served: 0, tokens_generated: 0 },
    tokens_per_second: [],
    errors: [],
    ...changes,
  });
}

const blocked = BlockedStatus.parse({
  schema_version: 1,
  version: '0.7.0',
  pid: 1,
  started_at: '2026-11-22T10:00:00.000Z',
  state: 'blocked',
  home: '/h',
  reason: { code: 'port_in_use', message: 'Port 8000 of 127.0.0.1 is in use by another program.' },
});
const lost = (last_loss: string) => status({}, { state: 'waiting', attempt: 2, last_loss });
const mismatch = { runtime_verified: false, mismatches: ['backend: wants mlx-swift, this is llama.cpp'] };

test.each<[string, Parameters<typeof whyOf>[0], Finding['cause'], RegExp, RegExp]>([
  ['nothing runs', undefined, 'not_running', /No daemon runs/u, /start/u],
  ['the port is taken', blocked, 'blocked', /Port 8000 of 127\.0\.0\.1 is in use/u, /Mend it/u],
  ['it is paused', status({ state: 'paused' }), 'paused', /paused by its owner/u, /resume/u],
  ['it drains', status({ state: 'draining' }), 'draining', /stopping/u, /start/u],
  [
    'the coordinator is down',
    lost('connect ECONNREFUSED 10.0.0.2:8787'),
    'coordinator_unreachable',
    /ECONNREFUSED/u,
    /tries again/u,
  ],
  [
    'nothing was said yet',
    status({}, { state: 'dialing' }),
    'coordinator_unreachable',
    /cannot be reached\./u,
    /network/u,
  ],
  [
    'TLS fails',
    lost('self-signed certificate'),
    'tls_failed',
    /is not trusted: self-signed certificate/u,
    /certificate/u,
  ],
  [
    'it is no coordinator',
    lost('Unexpected server response: 404'),
    'not_a_coordinator',
    /not like a coordinator/u,
    /coordinator\.url/u,
  ],
  [
    'the coordinator restarts',
    lost('Unexpected server response: 502'),
    'coordinator_unreachable',
    /502/u,
    /tries again/u,
  ],
  [
    'it does not route here',
    status({ trust: mismatch }),
    'not_routable',
    /backend: wants mlx-swift/u,
    /direct endpoint/u,
  ],
  ['it does not trust us', status({ trust: { status: 'untrusted', reason: 'x' } }), 'not_accepted', /\(x\)/u, /owner/u],
])('when %s, that is the reason, with the next step', (_case, facts, cause, sentence, nextStep) => {
  const finding = whyOf(facts);
  expect(finding).toMatchObject({
    cause,
    sentence: expect.stringMatching(sentence),
    nextStep: expect.stringMatching(nextStep),
  });
  expect(finding?.sentence.split('\n')).toHaveLength(1);
});

test('when all that can be seen is well, a request must tell', () => {
  expect(whyOf(status())).toBeUndefined();
});

const failed = (status: number, code: string, message: string): Canary => ({ answered: false, status, code, message });

test.each<[string, Canary, Finding['cause'], RegExp]>([
  ['the link token is wrong', failed(401, 'authentication_error', 'x'), 'wrong_link_token', /Link it again/u],
  ['the challenge was not answered', failed(503, 'model_not_loaded', 'x'), 'not_accepted', /half a minute/u],
  ['the account has no machine', failed(409, 'no_linked_machine', 'x'), 'not_accepted', /link it again/u],
  ['the model is missing', failed(404, 'model_not_found', 'x'), 'model_missing', /models/u],
  [
    'memory is too small',
    failed(503, 'model_unavailable', "insufficient memory to load model 'x'"),
    'memory_too_small',
    /smaller/u,
  ],
  ['something else', failed(500, 'internal_error', 'x'), 'request_failed', /log/u],
])('a request that failed because %s names it', (_case, canary, cause, nextStep) => {
  expect(whyOfCanary(canary)).toMatchObject({ cause, nextStep: expect.stringMatching(nextStep) });
});

test('an answered request says that nothing is wrong, and in what time', () => {
  const finding = whyOfCanary({ answered: true, ms: 12, model: 'tiny' });
  expect(finding).toEqual({ cause: 'served', sentence: expect.stringMatching(/Nothing is wrong.*tiny.*12 ms/u) });
});
