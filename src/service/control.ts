import { chmodSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { connect } from 'node:net';
import { getRequestListener } from '@hono/node-server';
import { DarkbloomError } from '../errors.js';
import { createApp } from '../http/app.js';
import type { Log } from '../log.js';
import type { NodePrivacy } from './node-privacy.js';
import type { BlockedStatus, Status } from './status.js';
import type { UsageFile } from './usage-rows.js';

/** What `sun_path` holds on macOS, less its zero at the end. A longer one is cut off, not refused: the socket would lie
 *  somewhere else. */
const MAX_PATH_BYTES = 103;

const CLOSE_TIMEOUT_MS = 1_000;

/** What is said and done for who asks. */
export interface ControlAnswers {
  status: () => Status | BlockedStatus;
  /** What only a daemon that serves can tell; absent while it is blocked. */
  serving?: { usage: () => UsageFile; privacy: () => NodePrivacy } | undefined;
  pause: () => Promise<void>;
  resume: () => Promise<void>;
  /** Asks the daemon to drain and stop; answers before it does. */
  stop: () => void;
}

interface ControlOptions {
  /** The socket file; only its owner may open it. */
  path: string;
  answers: ControlAnswers;
  log: Log;
}

/** An open control socket. */
export interface Control {
  /** Answers so from now on. */
  answer(answers: ControlAnswers): void;
  close(): Promise<void>;
}

/** The daemon's end of the control socket: `status`, `pause`, `resume`, `stop` of the command line end up here.
 *  @throws DarkbloomError `config_invalid` for a path too long for a socket, `already_running`. */
export async function openControl(options: ControlOptions): Promise<Control> {
  let { answers } = options;
  if (Buffer.byteLength(options.path) > MAX_PATH_BYTES) {
    throw new DarkbloomError(
      'config_invalid',
      `${options.path} is too long a path for a socket (${MAX_PATH_BYTES} bytes at most). ` +
        'Set DARKBLOOM_PROVIDER_HOME to a shorter one.',
    );
  }
  const app = createApp(options.log);
  app.get('/status', (context) => context.json(answers.status()));
  for (const fact of ['usage', 'privacy'] as const) {
    app.get(`/${fact}`, (context) =>
      answers.serving === undefined ? context.notFound() : context.json(answers.serving[fact]()),
    );
  }
  app.post('/pause', async (context) => {
    await answers.pause();
    return context.json(answers.status());
  });
  app.post('/resume', async (context) => {
    await answers.resume();
    return context.json(answers.status());
  });
  app.post('/stop', (context) => {
    answers.stop();
    return context.json(answers.status());
  });
  const listener = getRequestListener(app.fetch, { overrideGlobalObjects: false });
  const server = createServer((request, response) => void listener(request, response));
  if (await isAnswered(options.path)) {
    throw new DarkbloomError('already_running', `Another daemon of this home answers on ${options.path}.`);
  }
  rmSync(options.path, { force: true }); // left by a daemon that was killed
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.path, resolve);
  });
  chmodSync(options.path, 0o600);
  return {
    answer: (others) => (answers = others),
    close: () =>
      new Promise((resolve) => {
        // The answer to the `stop` that led here is still on its way.
        const timer = setTimeout(() => server.closeAllConnections(), CLOSE_TIMEOUT_MS);
        server.close(() => {
          clearTimeout(timer);
          resolve();
        });
        server.closeIdleConnections();
      }),
  };
}

/** Whether a living process listens on the socket. */
function isAnswered(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
