import { execFile, type ExecFileException } from 'node:child_process';

const COMMAND_TIMEOUT_MS = 5_000;
const MAX_OUTPUT_BYTES = 1024 * 1024;

/** Ended by a signal, with too much output, or could not be started although it is there. */
const ENDED_BADLY = -1;

export interface CommandResult {
  /** The exit status; -1 if there is none although the tool exists. */
  code: number | 'missing' | 'timeout';
  stdout: string;
  stderr: string;
}

/** The one seam to the tools of the system: tests put recorded outputs behind it. */
export interface Commands {
  /** Runs the tool at an absolute path. A tool that is missing, fails or hangs is a result, never a rejection. */
  run(path: string, args: readonly string[]): Promise<CommandResult>;
}

export const systemCommands: Commands = {
  run: (path, args) =>
    new Promise((resolve) => {
      const child = execFile(
        path,
        args,
        {
          // The folder the daemon was started in may be gone; `/` never is.
          cwd: '/',
          // Nothing of our own environment: texts in English, numbers with a point, no variable that changes a tool.
          env: { LC_ALL: 'C', PATH: '/usr/bin:/bin:/usr/sbin:/sbin' },
          timeout: COMMAND_TIMEOUT_MS,
          killSignal: 'SIGKILL',
          maxBuffer: MAX_OUTPUT_BYTES,
        },
        (error, stdout, stderr) => resolve({ code: codeOf(error), stdout, stderr }),
      );
      // A tool that reads its input must see the end of it, not wait for us.
      child.stdin?.end();
    }),
};

function codeOf(error: ExecFileException | null): CommandResult['code'] {
  if (error === null) return 0;
  if (typeof error.code === 'number') return error.code;
  if (error.code === 'ENOENT') return 'missing';
  // With a code it was killed for its output; without one, by the timeout.
  if (error.killed === true && typeof error.code !== 'string') return 'timeout';
  return ENDED_BADLY;
}
