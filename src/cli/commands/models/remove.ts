import type { Home } from '../../../config.js';
import { DarkbloomError } from '../../../errors.js';
import { removePlaced, type Removed } from '../../../models/places.js';
import { askStatus } from '../../control-client.js';
import { print, printDone } from '../../style.js';
import { here, placedHere } from './here.js';

export async function remove(name: string): Promise<void> {
  const { home, models } = here();
  const placed = placedHere(name, home, models);
  if (placed === undefined)
    throw new DarkbloomError('model_not_found', `'${name}' was neither downloaded nor adopted here.`);
  const { id } = placed;
  printDone(sentenceOf(id, removePlaced(home.folder, id)));
  const word = await daemonsWord(home, id);
  if (word !== undefined) print(word);
}

function sentenceOf(id: string, { downloaded, adopted }: Removed): string {
  if (!adopted) return `${id} is deleted.`;
  const forgotten = 'the file of the other application stays where it is';
  return downloaded ? `${id} is deleted; ${forgotten} and is forgotten.` : `${id} is forgotten; ${forgotten}.`;
}

/** What a daemon that runs now makes of it; nothing when none does. */
async function daemonsWord(home: Home, id: string): Promise<string | undefined> {
  try {
    const status = await askStatus(home);
    const model = status.state === 'blocked' ? undefined : status.models.find(({ build }) => build === id);
    if (model === undefined) return undefined;
    return model.state === 'absent' || model.state === 'failed'
      ? 'The running daemon still offers it, and requests for it may fail, until: darkbloom-provider restart'
      : 'The running daemon has it in memory and goes on answering with it until it is unloaded or restarted; ' +
          'only then is room on the disk free. Now: darkbloom-provider restart';
  } catch (error) {
    if (error instanceof DarkbloomError) return undefined; // none runs, or it does not answer
    throw error;
  }
}
