import pico from 'picocolors';

/** Colours for data on stdout and for messages on stderr: only where a person looks. In a pipe `isTTY` is not set at
 *  all, and picocolors takes `undefined` for its own guess, which says yes under `CI`. */
export const style = pico.createColors(wantsColour(process.stdout));
export const errorStyle = pico.createColors(wantsColour(process.stderr));

function wantsColour(stream: NodeJS.WriteStream): boolean {
  return stream.isTTY === true && pico.isColorSupported;
}

export function print(line = ''): void {
  process.stdout.write(`${line}\n`);
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
