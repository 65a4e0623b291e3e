import { toFailure } from '../errors.js';
import { errorStyle } from './style.js';

/** A command line that cannot be understood; the same as for any request that is wrong. */
export const USAGE_EXIT = 64;

/** Prints one clear sentence to stderr, and for a fault of ours its cause. Returns the exit code. */
export function reportFailure(error: unknown): number {
  const failure = toFailure(error);
  process.stderr.write(`${errorStyle.red('error')} ${failure.message}\n`);
  if (failure.code === 'internal') {
    const cause =
      failure.cause instanceof Error ? (failure.cause.stack ?? failure.cause.message) : String(failure.cause);
    process.stderr.write(`${errorStyle.dim(cause)}\n`);
  }
  return failure.exitCode;
}
