import { systemErrorCode } from '../errors.js';

/** Whether a process exists. One of another user cannot be signalled, but it is there. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return systemErrorCode(error) === 'EPERM';
  }
}
