import { expect, test } from 'vitest';
import { modelToAsk, whyOf, whyOfCanary, type Canary, type Finding } from '../../src/cli/why.js';
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

const blockedBy = ([code, message]: [code: string, message: string]) =>
  BlockedStatus.parse({
    schema_version: 1,
    version: '0.7.0',
    pid: 1,
    started_at: '2026-11-22T10:00:00.000Z',
    state: 'blocked',
    home: '/h',
    reason: { code, message },
  });
const PORT: [string, string] = [
  'port_in_use',
  'Port 8000 of 127.0.0.1 is in use by another program. Stop that program.',
];
const NO_LINK: [string, string] = [
  'not_logged_in',
  'This machine is not linked to http://studio.local:8787. Run `darkbloom-provider link http://studio.local:8787`.',
];
const DAMAGED: [string, string] = [
  'model_corrupt',
  'The model file /m/a.gguf cannot be used: it is cut short. Replace it.',
];
const NO_MODEL: [string, string] = ['model_corrupt', `models.files.a.b: ${DAMAGED[1]}`];
const SETTING: [string, string] = ['config_invalid', '/h/config.toml, line 3: http.port: must be a number.'];
const lost = (last_loss: string) => status({}, { state: 'waiting', attempt: 2, last_loss });
const mismatch = { runtime_verified: false, mismatches: ['backend: wants mlx-swift, this is llama.cpp'] };

test.each<[string, Parameters<typeof whyOf>[0], Finding['cause'], RegExp, RegExp]>([
  ['nothing runs', undefined, 'not_running', /No daemon runs/u, /start/u],
  ['it says nothing', 'unanswered', 'not_answering', /does not answer/u, /restart/u],
  [
    'the port is taken',
    blockedBy(PORT),
    'port_taken',
    /Port 8000 of 127\.0\.0\.1 is in use.*program\.$/u,
    /http\.port N/u,
  ],
  [
    'it was not linked',
    blockedBy(NO_LINK),
    'not_linked',
    /is not linked to http:\S+\.$/u,
    /^Run `darkbloom-provider link/u,
  ],
  ['a model is damaged', blockedBy(NO_MODEL), 'model_missing', /cut short\.$/u, /config unset models\.files\.a\.b;/u],
  ['a download is damaged', blockedBy(DAMAGED), 'model_missing', /cut short\.$/u, /adopt it again/u],
  [
    'a setting is wrong',
    blockedBy(SETTING),
    'blocked',
    /line 3: http\.port: must be a number\.$/u,
    /^Mend it; the daemon/u,
  ],
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
    /has not answered yet/u,
    /network/u,
  ],
  [
    'TLS fails',
    lost('self-signed certificate'),
    'tls_failed',
    /is not trusted by this machine \(self-signed certificate\)/u,
    /NODE_EXTRA_CA_CERTS/u,
  ],
  [
    'the certificate is for another name',
    lost(
      "Hostname/IP does not match certificate's altnames: Host: studio.local. is not in the cert's altnames: DNS:mac.lan",
    ),
    'tls_failed',
    /is for another name/u,
    /link http:\/\/mac\.lan:8787$/u,
  ],
  ['the certificate is old', lost('certificate has expired'), 'tls_failed', /not valid at this time/u, /the date/u],
  [
    'there is no TLS',
    lost('write EPROTO 1:error:0A00010B:SSL routines:ssl3_get_record:wrong version number:../x.c:355:\n'),
    'tls_failed',
    /does not speak TLS/u,
    /link http:\/\/studio\.local:8787/u,
  ],
  [
    'its name leads nowhere',
    lost('getaddrinfo ENOTFOUND studio.local'),
    'coordinator_unreachable',
    /its name/u,
    /name/u,
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
    /at http:\/\/127\.0\.0\.1:8000\/v1/u,
  ],
  ['it does not trust us', status({ trust: { status: 'untrusted', reason: 'x' } }), 'not_trusted', /\(x\)/u, /owner/u],
])('when %s, that is the reason, with the next step', (_case, facts, cause, sentence, nextStep) => {
  const finding = whyOf(facts, undefined);
  expect(finding).toMatchObject({
    cause,
    sentence: expect.stringMatching(sentence),
    nextStep: expect.stringMatching(nextStep),
  });
  expect(finding?.sentence.split('\n')).toHaveLength(1);
});

test('when all that can be seen is well, a request must tell', () => {
  expect(whyOf(status(), undefined)).toBeUndefined();
});

const model = (alias: string, changes: object = {}) => ({
  alias,
  build: `local/${alias}-f16`,
  state: 'absent' as const,
  memory_bytes: 1,
  context_tokens: 8192,
  slots: 4,
  running: 0,
  waiting: 0,
  ...changes,
});
const failed = (status: number, code: string, message: string): Canary => ({ answered: false, status, code, message });

test.each<[string, Canary, Finding['cause'], RegExp]>([
  [
    'the link token is wrong',
    failed(401, 'authentication_error', 'x'),
    'wrong_link_token',
    /link http:\S+:8787; then/u,
  ],
  [
    'no challenge was answered',
    failed(503, 'model_not_loaded', 'cannot serve: it has not answered a challenge'),
    'challenge_unanswered',
    /anew/u,
  ],
  ['it is not routed to', failed(503, 'model_not_loaded', 'x'), 'not_accepted', /half a minute/u],
  ['the account has no machine', failed(409, 'no_linked_machine', 'x'), 'not_accepted', /shows the token/u],
  ['the model is not known', failed(404, 'model_not_found', 'x'), 'model_missing', /models/u],
  ['all rows are taken', failed(429, 'machine_busy', 'x'), 'busy', /in a minute/u],
  [
    'memory is too small',
    failed(503, 'model_unavailable', "insufficient memory to load model 'x'"),
    'memory_too_small',
    /now 8192 tokens.*now 4/u,
  ],
  ['nothing came back', failed(0, 'no_answer', 'socket hang up'), 'request_failed', /proxy/u],
  ['something else', failed(500, 'internal_error', 'x'), 'request_failed', /log/u],
])('a request that failed because %s names it', (_case, canary, cause, nextStep) => {
  expect(whyOfCanary(canary, status(), model('tiny'))).toMatchObject({
    cause,
    nextStep: expect.stringMatching(nextStep),
  });
});

test('an answered request says that nothing is wrong, and in what time', () => {
  const finding = whyOfCanary({ answered: true, ms: 12 }, status(), model('tiny'));
  expect(finding).toEqual({ cause: 'served', sentence: expect.stringMatching(/Nothing is wrong.*tiny.*12 ms/u) });
});

test.each<[string, object[], string | undefined, object]>([
  ['the smallest', [model('b', { memory_bytes: 2 }), model('a')], undefined, { alias: 'a' }],
  [
    'a loaded one before that',
    [model('a'), model('b', { memory_bytes: 2, state: 'ready' })],
    undefined,
    { alias: 'b' },
  ],
  ['the named one', [model('a'), model('b')], 'b', { alias: 'b' }],
  ['the one of that build', [model('a'), model('b')], 'local/b-f16', { alias: 'b' }],
  ['none that is not there', [model('a')], 'c', { cause: 'model_missing' }],
  ['none where there is none', [], undefined, { cause: 'model_missing' }],
  [
    'none while a file is gone',
    [model('a'), model('b', { missing_file: '/b' })],
    undefined,
    { cause: 'model_missing' },
  ],
  ['another than the one whose file is gone', [model('a'), model('b', { missing_file: '/b' })], 'a', { alias: 'a' }],
  ['one that is in memory without its file', [model('b', { missing_file: '/b', state: 'ready' })], 'b', { alias: 'b' }],
])('asked for is %s', (_case, models, name, expected) => {
  expect(modelToAsk(status({ models }), name)).toMatchObject(expected);
});
