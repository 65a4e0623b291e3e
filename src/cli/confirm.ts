import { createInterface } from 'node:readline/promises';
import { DarkbloomError } from '../errors.js';

/** Goes on when the person types `yes`.
 *  @throws DarkbloomError `usage` where nobody can be asked, `cancelled` for another answer. */
export async function confirm(question: string): Promise<void> {
  if (!process.stdin.isTTY)
    throw new DarkbloomError('usage', 'Nobody can be asked here. Say --yes, or look first with --dry-run.');
  const reader = createInterface({ input: process.stdin, output: process.stderr });
  const answer = await reader.question(`${question} Type yes: `);
  reader.close();
  if (answer.trim() !== 'yes') throw new DarkbloomError('cancelled', 'Nothing was removed.');
}
