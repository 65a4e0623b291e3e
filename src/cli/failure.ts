import { z } from 'zod';
import { ERROR_CODES, toFailure, type DarkbloomError } from '../errors.js';
import { jsonLine, SchemaVersion } from './json-output.js';
import { errorStyle, printError } from './style.js';

/** A command line that cannot be understood; the same as for any request that is wrong. */
export const USAGE_EXIT = 64;

/** What a failed command with `--json` prints, as the one line on stderr. stdout then has nothing. */
export const ErrorOutput = z.strictObject({
  schema_version: SchemaVersion,
  error: z
    .strictObject({
      code: z.enum(ERROR_CODES).describe('A word for scripts'),
      message: z.string().describe('What is wrong, in a sentence or two that end with the next step'),
      exit_code: z.int().describe('Exit code of the command'),
      retryable: z.boolean().describe('The same command may work later, unchanged'),
      cause: z.string().optional().describe('Where it went wrong in the program; only for code `internal`'),
    })
    .describe('What went wrong'),
});
type ErrorOutput = z.infer<typeof ErrorOutput>;

/** Says on stderr what is wrong: one clear sentence, or one JSON object. For a fault of ours also its cause.
 *  Returns the exit code. */
export function reportFailure(error: unknown, json: boolean): number {
  const failure = toFailure(error);
  const cause = failure.code === 'internal' ? causeText(failure) : undefined;
  if (json) {
    const { code, message, exitCode: exit_code, retryable } = failure;
    const output: ErrorOutput = {
      schema_version: 1,
      error: { code, message, exit_code, retryable, ...(cause === undefined ? {} : { cause }) },
    };
    printError(jsonLine(output));
  } else {
    printError(`${errorStyle.red('error')} ${failure.message}`);
    if (cause !== undefined) printError(errorStyle.dim(cause));
  }
  return failure.exitCode;
}

function causeText({ cause }: DarkbloomError): string {
  return cause instanceof Error ? (cause.stack ?? cause.message) : String(cause);
}
