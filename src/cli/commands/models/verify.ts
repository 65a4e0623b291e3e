import { DarkbloomError } from '../../../errors.js';
import { verifyPlaced } from '../../../models/places.js';
import { printDone } from '../../style.js';
import { here, hostedBuild, placedHere } from './here.js';

export async function verify(name: string): Promise<void> {
  const { home, models } = here();
  const placed = placedHere(name, home, models);
  if (placed === undefined) {
    const { id } = hostedBuild(name, models);
    throw new DarkbloomError(
      'model_not_found',
      `${id} is not on this machine. To get it: darkbloom-provider models download ${name}`,
    );
  }
  const problems = await verifyPlaced(home.folder, placed.id, models);
  if (problems.length > 0) throw new DarkbloomError('model_corrupt', problems.join(' '));
  printDone(`Every file of ${placed.id} has the hash that it should have.`);
}
