import pico from 'picocolors';

/** Colours for data on stdout and for messages on stderr: only where a person looks. In a pipe `isTTY` is not set at
 *  all, and picocolors takes `undefined` for its own guess, which says yes under `CI`. */
export const style = pico.createColors(wantsColour(process.stdout));
export const errorStyle = pico.createColors(wantsColour(process.stderr));

function wantsColour(stream: NodeJS.WriteStream): boolean {
  return stream.isTTY === true && pico.isColorSupported;
}

/** Control characters (C0, DEL, C1), but for line ends and tabs. */
const CONTROL = /(?![\n\t])\p{Cc}/gu;
/** The same, but for those that begin a colour of ours. */
const CONTROL_BUT_COLOURS = /(?![\n\t])(?!\u001B\[(?:[12]|22|3[1-3]|39)m)\p{Cc}/gu;

/** Text as a terminal may get it: names, reasons and messages that a peer wrote may not steer it. Colours stay where
 *  there are any. Pure. */
export function harmless(text: string, colours = false): string {
  return text.replace(colours ? CONTROL_BUT_COLOURS : CONTROL, '');
}

/** Data, a line on stdout. Whatever may hold words of a peer goes to the terminal through these three. */
export function print(line = ''): void {
  process.stdout.write(`${harmless(line, style.isColorSupported)}\n`);
}

/** A piece of an answer, on stdout. */
export function printPiece(text: string): void {
  process.stdout.write(harmless(text));
}

/** A message, a line on stderr. */
export function printError(line: string): void {
  process.stderr.write(`${harmless(line, errorStyle.isColorSupported)}\n`);
}

/** `name      value` in two columns. */
export function printFact(name: string, value: string): void {
  print(`  ${style.dim(name.padEnd(10))}${value}`);
}

/** `1 running request`, `2 running requests`. */
export function runningRequests(count: number): string {
  return `${count} running ${count === 1 ? 'request' : 'requests'}`;
}

export function printDone(text: string): void {
  print(`  ${style.green('✓')} ${text}`);
}
