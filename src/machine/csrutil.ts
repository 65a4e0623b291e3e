/**
 * `csrutil status`. Only the whole first line counts: a custom configuration can say `enabled (Custom Configuration).`
 * with everything switched off, and the lines below it contain the word too.
 */
export function sipEnabledOf(output: string): boolean {
  return firstLine(output) === 'System Integrity Protection status: enabled.';
}

/** `csrutil authenticated-root status`, with or without the final dot; `undefined`: it does not say. */
export function sealedSystemOf(output: string): boolean | undefined {
  switch (firstLine(output).replace(/\.$/, '')) {
    case 'Authenticated Root status: enabled':
      return true;
    case 'Authenticated Root status: disabled':
      return false;
    default:
      return undefined;
  }
}

function firstLine(output: string): string {
  return output.split('\n', 1)[0]?.trimEnd() ?? '';
}
