import { stripVTControlCharacters } from 'node:util';
import { describe, expect, test } from 'vitest';
import { fit } from '../../src/cli/screen.js';
import { duration, sparkline, statusLines } from '../../src/cli/status-view.js';
import { BlockedStatus, Status } from '../../src/service/status.js';

const GIB = 1024 ** 3;
const NOW = Date.parse('2026-06-21T15:04:05Z');
const ago = (seconds: number) => new Date(NOW - seconds * 1_000).toISOString();

const MODEL: Status['models'][number] = {
  alias: 'qwen',
  build: 'local/qwen-q4',
  state: 'absent',
  memory_bytes: 4.4 * GIB,
  context_tokens: 8192,
  slots: 4,
  running: 0,
  waiting: 0,
};

const IDLE: Status = {
  schema_version: 1,
  version: '0.7.0',
  pid: 4711,
  started_at: ago(7_500),
  state: 'serving',
  mode: 'local',
  base_url: 'http://127.0.0.1:8000/v1',
  home: '/Users/me/.darkbloom-provider',
  connection: { state: 'online', coordinator_url: 'http://127.0.0.1:49152', since: ago(7_499), attempt: 0 },
  trust: { level: 'self_signed', status: 'online' },
  models: [MODEL],
  memory: { limit_bytes: 24 * GIB, used_bytes: 0 },
  requests: { running: 0, waiting: 0, served: 0, tokens_generated: 0 },
  tokens_per_second: Array.from({ length: 60 }, () => 0),
  errors: [],
};

const BUSY: Status = {
  ...IDLE,
  models: [
    { ...MODEL, state: 'ready', running: 4, waiting: 2, decode_tps: 34.6, prefill_tps: 512 },
    { ...MODEL, alias: 'gemma', build: 'local/gemma-q4', state: 'loading' },
  ],
  memory: { limit_bytes: 24 * GIB, used_bytes: 8.8 * GIB },
  requests: { running: 4, waiting: 2, served: 1234, tokens_generated: 567_890 },
  tokens_per_second: Array.from({ length: 60 }, (_, second) => Math.abs((second % 16) - 8) * 17),
  errors: [
    { at: ago(40), code: 'over_capacity', message: 'All 4 slots of qwen are busy and 8 requests wait.' },
    { at: ago(4_000), code: 'model_corrupt', message: 'The model gemma could not be loaded: not a GGUF file.' },
  ],
};

const WAITING: Status = {
  ...IDLE,
  mode: 'linked',
  trust: undefined,
  connection: {
    state: 'waiting',
    coordinator_url: 'http://studio.local:8787',
    since: ago(12),
    last_loss: 'connect ECONNREFUSED 192.168.1.20:8787',
    attempt: 6,
  },
};

const NOT_ROUTABLE: Status = {
  ...IDLE,
  mode: 'linked',
  connection: { state: 'online', coordinator_url: 'https://api.example.com', since: ago(65), attempt: 0 },
  trust: {
    runtime_verified: false,
    mismatches: ['backend: wants mlx-swift, this is llama.cpp', 'runtime: wants another, this is 0.7.0'],
  },
};

const LONG: Status = {
  ...BUSY,
  mode: 'linked',
  base_url: `http://${'a-very-long-name.'.repeat(6)}local:8000/v1`,
  connection: {
    ...WAITING.connection,
    coordinator_url: `https://${'b'.repeat(150)}.example`,
    last_loss: 'x'.repeat(200),
  },
  trust: { level: 'none', status: 'untrusted', reason: 'y'.repeat(300) },
  models: [{ ...MODEL, alias: 'm'.repeat(100), state: 'ready', running: 1, decode_tps: 12_345 }],
  requests: { running: 1e6, waiting: 1e6, served: 1e12, tokens_generated: 1e15 },
  tokens_per_second: Array.from({ length: 60 }, () => 98_765),
  memory: { limit_bytes: 1e15, used_bytes: 1e15 },
  errors: [{ at: ago(1e6), code: 'internal', message: 'z'.repeat(300) }],
};

const BLOCKED: BlockedStatus = {
  schema_version: 1,
  version: '0.7.0',
  pid: 4711,
  started_at: ago(65),
  state: 'blocked',
  home: '/Users/me/.darkbloom-provider',
  reason: {
    code: 'config_invalid',
    message: '/Users/me/.darkbloom-provider/config.toml, line 2: http.port: must be a whole number from 0 to 65535.',
  },
};

const ALL: [string, Status | BlockedStatus][] = [
  ['serving, idle', IDLE],
  ['busy', BUSY],
  ['paused', { ...IDLE, state: 'paused' }],
  ['draining', { ...BUSY, state: 'draining' }],
  ['starting', { ...IDLE, state: 'starting', connection: { ...IDLE.connection, state: 'dialing' } }],
  ['stopped', { ...IDLE, state: 'stopped', connection: { ...IDLE.connection, state: 'closed' } }],
  ['not connected', WAITING],
  ['not routable', NOT_ROUTABLE],
  ['with long names and large numbers', LONG],
  ['blocked', BLOCKED],
];

const linesOf = (status: Status | BlockedStatus, width: number) =>
  statusLines(status, width, NOW).map((line) => stripVTControlCharacters(line));
/** The lines without what pads them, as a person sees them. */
const screen = (status: Status | BlockedStatus, width: number) =>
  `\n${linesOf(status, width)
    .map((line) => line.trimEnd())
    .join('\n')}\n`;
const lineOf = (status: Status, name: string, width = 120) =>
  linesOf(status, width).find((line) => line.startsWith(name.padEnd(12)));

test.each(ALL)('the made-up status is one that the daemon could send: %s', (_, status) => {
  const schema = status.state === 'blocked' ? BlockedStatus : Status;
  expect(schema.safeParse(JSON.parse(JSON.stringify(status))).error).toBeUndefined();
});

describe.each([60, 80, 120])('on a screen of %i columns', (width) => {
  test.each(ALL)('no line is wider: %s', (_, status) => {
    for (const line of linesOf(status, width)) expect(line.length, line).toBeLessThanOrEqual(width);
  });

  test('a long model name leaves room for what its model does', () => {
    expect(lineOf(LONG, 'model', width)).toMatch(/^model {7}m+…: loaded/u);
  });

  test('a paused machine says how it goes on', () => {
    expect(lineOf({ ...IDLE, state: 'paused' }, 'state', width)).toBe(
      'state       paused; `darkbloom-provider resume` serves again',
    );
  });

  test('every reason of a coordinator that sends no requests is told in full', () => {
    const text = linesOf(NOT_ROUTABLE, width)
      .map((line) => line.slice(12).trim())
      .join(' ');
    for (const reason of NOT_ROUTABLE.trust?.mismatches ?? []) expect(text).toContain(reason);
  });
});

describe('a stranger reads', () => {
  test('an idle machine', () => {
    expect(screen(IDLE, 80)).toMatchInlineSnapshot(`
      "
      state       serving
      mode        local: this machine is its own coordinator
      connection  connected for 2 h 4 min
      trust       self_signed, online
      address     http://127.0.0.1:8000/v1
      requests    0 running, 0 waiting; 0 served with 0 tokens since the start
      speed       0 tokens/s, last 41 s ▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁
      memory      0.0 of 24.0 GiB in use by loaded models
      up          2 h 5 min, process 4711

      model       qwen: not loaded until a request comes, 4.4 GiB
      "
    `);
  });

  test('a busy machine', () => {
    expect(screen(BUSY, 80)).toMatchInlineSnapshot(`
      "
      state       serving
      mode        local: this machine is its own coordinator
      connection  connected for 2 h 4 min
      trust       self_signed, online
      address     http://127.0.0.1:8000/v1
      requests    4 running, 2 waiting; 1234 served with 567890 tokens since the start
      speed       51 tokens/s, last 41 s ▅▅▄▃▂▁▂▃▄▅▅▆▇█▇▆▅▅▄▃▂▁▂▃▄▅▅▆▇█▇▆▅▅▄▃▂▁▂▃▄
      memory      8.8 of 24.0 GiB in use by loaded models
      up          2 h 5 min, process 4711

      model       qwen: loaded, 4.4 GiB, 4 running, 2 waiting, 35 tokens/s per request
      model       gemma: loading, 4.4 GiB

      last errors
                  40 s ago: All 4 slots of qwen are busy and 8 requests wait.
                  1 h 6 min ago: The model gemma could not be loaded: not a GGUF file.
      "
    `);
    expect(screen(BUSY, 120)).toMatchInlineSnapshot(`
      "
      state       serving
      mode        local: this machine is its own coordinator
      connection  connected for 2 h 4 min
      trust       self_signed, online
      address     http://127.0.0.1:8000/v1
      requests    4 running, 2 waiting; 1234 served with 567890 tokens since the start
      speed       51 tokens/s, last 60 s █▇▆▅▅▄▃▂▁▂▃▄▅▅▆▇█▇▆▅▅▄▃▂▁▂▃▄▅▅▆▇█▇▆▅▅▄▃▂▁▂▃▄▅▅▆▇█▇▆▅▅▄▃▂▁▂▃▄
      memory      8.8 of 24.0 GiB in use by loaded models
      up          2 h 5 min, process 4711

      model       qwen: loaded, 4.4 GiB, 4 running, 2 waiting, 35 tokens/s per request
      model       gemma: loading, 4.4 GiB

      last errors
                  40 s ago: All 4 slots of qwen are busy and 8 requests wait.
                  1 h 6 min ago: The model gemma could not be loaded: not a GGUF file.
      "
    `);
  });

  test('which models stay, which go, and which wait for memory', () => {
    const status: Status = {
      ...IDLE,
      models: [
        { ...MODEL, state: 'ready', kept: true },
        { ...MODEL, alias: 'gemma', state: 'ready', unloads_at: ago(-1_500) },
        { ...MODEL, alias: 'phi', state: 'waiting', running: 1 },
      ],
    };
    expect(
      screen(status, 80)
        .split('\n')
        .filter((line) => line.startsWith('model'))
        .join('\n'),
    ).toMatchInlineSnapshot(`
      "model       qwen: loaded, 4.4 GiB, kept
      model       gemma: loaded, 4.4 GiB, unloads in 25 min
      model       phi: waiting for memory of other models, 4.4 GiB, 1 running, 0"
    `);
  });

  test('a machine that is paused', () => {
    expect(screen({ ...IDLE, state: 'paused' }, 80).split('\n')[1]).toMatchInlineSnapshot(
      `"state       paused; \`darkbloom-provider resume\` serves again"`,
    );
  });

  test('a machine that stops', () => {
    expect(screen({ ...BUSY, state: 'draining' }, 80).split('\n')[1]).toMatchInlineSnapshot(
      `"state       stopping when the running requests have ended"`,
    );
  });

  test('a machine whose coordinator is away', () => {
    expect(screen(WAITING, 80)).toMatchInlineSnapshot(`
      "
      state       serving
      mode        linked to http://studio.local:8787
      connection  not connected, try 7 (connect ECONNREFUSED 192.168.1.20:8787)
      address     http://127.0.0.1:8000/v1
      requests    0 running, 0 waiting; 0 served with 0 tokens since the start
      speed       0 tokens/s, last 41 s ▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁
      memory      0.0 of 24.0 GiB in use by loaded models
      up          2 h 5 min, process 4711

      model       qwen: not loaded until a request comes, 4.4 GiB
      "
    `);
  });

  test('a machine that its coordinator does not accept', () => {
    expect(screen(NOT_ROUTABLE, 80)).toMatchInlineSnapshot(`
      "
      state       serving
      mode        linked to https://api.example.com
      connection  connected for 1 min
      trust       not routable here, so no requests come: backend: wants mlx-swift,
                  this is llama.cpp; runtime: wants another, this is 0.7.0
      address     http://127.0.0.1:8000/v1
      requests    0 running, 0 waiting; 0 served with 0 tokens since the start
      speed       0 tokens/s, last 41 s ▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁
      memory      0.0 of 24.0 GiB in use by loaded models
      up          2 h 5 min, process 4711

      model       qwen: not loaded until a request comes, 4.4 GiB
      "
    `);
    expect(screen(NOT_ROUTABLE, 120)).toMatchInlineSnapshot(`
      "
      state       serving
      mode        linked to https://api.example.com
      connection  connected for 1 min
      trust       not routable here, so no requests come: backend: wants mlx-swift, this is llama.cpp; runtime: wants another,
                  this is 0.7.0
      address     http://127.0.0.1:8000/v1
      requests    0 running, 0 waiting; 0 served with 0 tokens since the start
      speed       0 tokens/s, last 60 s ▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁
      memory      0.0 of 24.0 GiB in use by loaded models
      up          2 h 5 min, process 4711

      model       qwen: not loaded until a request comes, 4.4 GiB
      "
    `);
  });

  test('a service that its owner must mend', () => {
    expect(screen(BLOCKED, 80)).toMatchInlineSnapshot(`
      "
      state       blocked: it serves nothing until this is mended, and then goes on by
                  itself
      reason      /Users/me/.darkbloom-provider/config.toml, line 2: http.port: must
                  be a whole number from 0 to 65535.
      home        /Users/me/.darkbloom-provider
      up          1 min, process 4711
      "
    `);
  });
});

test.each([
  ['absent', 'not loaded until a request comes'],
  ['loading', 'loading'],
  ['ready', 'loaded'],
  ['unloading', 'being unloaded'],
  ['failed', 'could not be loaded'],
] as const)('a model that is %s is told as: %s', (state, words) => {
  expect(lineOf({ ...IDLE, models: [{ ...MODEL, state }] }, 'model')).toBe(`model       qwen: ${words}, 4.4 GiB`);
});

test.each([
  [{}, 'the coordinator accepts this runtime'],
  [{ runtime_verified: true }, 'the coordinator accepts this runtime'],
  [{ runtime_verified: false }, 'not routable here, so no requests come: the runtime is not accepted'],
  [
    { runtime_verified: true, level: 'none', status: 'untrusted', reason: 'SIP is off' },
    'not trusted, so no requests come: SIP is off',
  ],
])('trust %j is told as: %s', (trust, words) => {
  expect(lineOf({ ...IDLE, trust }, 'trust')).toBe(`trust       ${words}`);
});

test('a connection that is lost tells how often it was tried and why, and one that never was tells no reason', () => {
  expect(lineOf(WAITING, 'connection')).toContain('not connected, try 7 (connect ECONNREFUSED 192.168.1.20:8787)');
  const { last_loss: _, ...connection } = WAITING.connection;
  expect(lineOf({ ...WAITING, connection: { ...connection, attempt: 0 } }, 'connection')).toMatch(/try 1$/u);
});

test('only the last three errors are shown', () => {
  const errors = [1, 2, 3, 4].map((number) => ({ at: ago(number), code: 'internal', message: `error ${number}` }));
  const text = linesOf({ ...IDLE, errors }, 80).join('\n');
  expect(text).toContain('3 s ago: error 3');
  expect(text).not.toContain('error 4');
});

test('what a coordinator wrote can neither steer the terminal nor begin a line', () => {
  const evil = 'be\x1b[2J\x1b]0;title\x07fore\r\nstate       serving\u202e\u009b31m';
  const lines = statusLines(
    {
      ...WAITING,
      connection: { ...WAITING.connection, last_loss: evil },
      trust: { level: evil, status: evil, reason: evil },
      errors: [{ at: ago(1), code: 'provider_error', message: evil }],
    },
    120,
    NOW,
  );

  for (const line of lines) expect(line.replace(/\x1b\[2m|\x1b\[22m/gu, '')).not.toMatch(/\p{C}/u);
  expect(lines.filter((line) => stripVTControlCharacters(line).startsWith('state'))).toHaveLength(1);
});

test.each([
  ['shorter', 'short', 10, 'short'],
  ['as wide', 'exactly', 7, 'exactly'],
  ['wider by one', 'exactly!', 7, 'exactl…'],
  ['much wider', 'x'.repeat(100), 5, 'xxxx…'],
  ['of two lines', 'one\n\ttwo', 20, 'one two'],
  ['empty', '', 5, ''],
])('a text that is %s than its room', (_, text, width, shown) => {
  expect(fit(text, width)).toBe(shown);
});

test.each([
  ['nothing yet', [], 10, ''],
  ['no work', [0, 0, 0], 10, '▁▁▁'],
  ['steady work', [5, 5, 5], 10, '███'],
  ['one token', [0, 1, 0], 10, '▁█▁'],
  ['more and more', [0, 1, 2, 3, 4, 5, 6, 7], 10, '▁▂▃▄▅▆▇█'],
  ['less room than seconds: the newest', [9, 9, 0, 7], 2, '▁█'],
  ['no room', [1, 2, 3], 0, ''],
  ['less than no room', [1, 2, 3], -5, ''],
])('bars of %s', (_, history, width, bars) => {
  expect(sparkline(history, width)).toBe(bars);
});

test.each([
  [-5_000, '0 s'],
  [0, '0 s'],
  [59_999, '59 s'],
  [60_000, '1 min'],
  [3_599_999, '59 min'],
  [3_600_000, '1 h 0 min'],
  [7_500_000, '2 h 5 min'],
  [47 * 3_600_000 + 59 * 60_000, '47 h 59 min'],
  [48 * 3_600_000, '2 days'],
  [400 * 86_400_000, '400 days'],
])('%i ms are %s', (ms, words) => {
  expect(duration(ms)).toBe(words);
});
