import pico from 'picocolors';

/** Colours for data on stdout and for messages on stderr: only where a person looks. */
export const style = pico.createColors(wantsColour(process.stdout));
export const errorStyle = pico.createColors(wantsColour(process.stderr));

function wantsColour(stream: NodeJS.WriteStream): boolean {
  return stream.isTTY && pico.isColorSupported;
}

export function print(line = ''): void {
  process.stdout.write(`${line}\n`);
}

/** `name      value` in two columns. */
export function printFact(name: string, value: string): void {
  print(`  ${style.dim(name.padEnd(10))}${value}`);
}

export function printDone(text: string): void {
  print(`  ${style.green('✓')} ${text}`);
}
