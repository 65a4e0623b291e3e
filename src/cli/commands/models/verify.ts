import { DarkbloomError } from '../../../errors.js';
import { verifyBuild } from '../../../models/places.js';
import { printDone } from '../../style.js';
import { here, hostedBuild } from './here.js';

export async function verify(name: string): Promise<void> {
  const { home, models } = here();
  const build = hostedBuild(name, models);
  const problems = await verifyBuild(home.folder, build);
  if (problems.length > 0) throw new DarkbloomError('model_corrupt', problems.join(' '));
  printDone(`Every file of ${build.id} has the hash of the catalogue.`);
}
