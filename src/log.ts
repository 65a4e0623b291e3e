import { join } from 'node:path';
import { pino, type Logger, type LoggerOptions } from 'pino';
import pretty from 'pino-pretty';
import { RotatingFile } from './util/rotating-file.js';

export type Log = Logger;

export const MAX_LOG_FILE_BYTES = 5 * 1024 * 1024;
/** The file that is written, and four older ones. */
export const LOG_FILES = 5;
export const LOG_FILE = 'service.log';

/** Facts as fields beside a short constant sentence. Never a prompt, an answer, a token or a key. */
export function createLog(level: string, stream: { fd: number; isTTY?: boolean }): Log {
  if (stream.isTTY !== true) return pino(optionsFor(level), pino.destination({ fd: stream.fd, sync: true }));
  return pino(
    optionsFor(level),
    pretty({
      destination: stream.fd,
      sync: true,
      ignore: 'pid,hostname',
      singleLine: true,
      translateTime: 'SYS:HH:MM:ss',
    }),
  );
}

/** The log of the background service: lines of JSON in files of a folder, at most `LOG_FILES` of `MAX_LOG_FILE_BYTES`. */
export function createServiceLog(level: string, folder: string): Log {
  const bounds = { maxFileBytes: MAX_LOG_FILE_BYTES, files: LOG_FILES };
  return pino(optionsFor(level), new RotatingFile(join(folder, LOG_FILE), bounds, lossNote));
}

/** Where the service keeps its log: on a Mac where the Console app looks, elsewhere in the home of this installation. */
export function logFolderOf(platform: NodeJS.Platform, userHome: string, homeFolder: string): string {
  return platform === 'darwin' ? join(userHome, 'Library/Logs/darkbloom-provider') : join(homeFolder, 'logs');
}

/** A log for tests and for commands that print for people instead. */
export function silentLog(): Log {
  return pino({ level: 'silent' });
}

function optionsFor(level: string): LoggerOptions {
  return { level, base: null, timestamp: pino.stdTimeFunctions.isoTime };
}

function lossNote(lost: number): string {
  const time = new Date().toISOString();
  return `${JSON.stringify({ level: pino.levels.values['warn'], time, lost, msg: 'log lines could not be written' })}\n`;
}
