import { pino, type Logger } from 'pino';
import pretty from 'pino-pretty';

export type Log = Logger;

/** Facts as fields beside a short constant sentence. Never a prompt, an answer, a token or a key. */
export function createLog(level: string, stream: { fd: number; isTTY?: boolean }): Log {
  const options = { level, base: null, timestamp: pino.stdTimeFunctions.isoTime };
  if (stream.isTTY !== true) return pino(options, pino.destination({ fd: stream.fd, sync: true }));
  return pino(
    options,
    pretty({ destination: stream.fd, sync: true, ignore: 'pid,hostname', translateTime: 'SYS:HH:MM:ss' }),
  );
}

/** A log for tests and for commands that print for people instead. */
export function silentLog(): Log {
  return pino({ level: 'silent' });
}
