import { environment, findHome, loadSettings, type Home, type Settings } from '../../../config.js';
import { DarkbloomError } from '../../../errors.js';
import { readCatalog, type CatalogModel, type HostedBuild } from '../../../models/catalog.js';
import { readPlaces } from '../../../models/places.js';
import { nearest } from '../../../util/nearest.js';

export const RESTART = 'A running daemon offers it after a restart.';

interface Here {
  home: Home;
  settings: Settings;
  models: CatalogModel[];
}

export function here(): Here {
  const home = findHome(environment);
  return { home, settings: loadSettings(home, environment, {}), models: readCatalog() };
}

/** What was downloaded or adopted here under a build id or an alias, in order or not. */
export function placedHere(
  name: string,
  home: Home,
  models: readonly CatalogModel[],
): { id: string; alias: string } | undefined {
  const { ready, refused } = readPlaces(models, home.folder);
  const all = [...ready, ...refused];
  return all.find(({ id }) => id === name) ?? all.find(({ alias }) => alias === name);
}

/** The build that a name stands for: an alias its first, or a build id.
 *  @throws DarkbloomError `model_not_found` with the nearest name. */
export function hostedBuild(name: string, models: readonly CatalogModel[]): HostedBuild {
  const all = models.flatMap(({ alias, builds }) => builds.map((build) => ({ alias, build })));
  const found = all.find(({ build }) => build.id === name) ?? all.find(({ alias }) => alias === name);
  if (found === undefined) throw noSuchModel(name, models);
  if (found.build.source === 'package') {
    throw new DarkbloomError('usage', `${name} is part of this package: there is nothing to download.`);
  }
  return found.build;
}

function noSuchModel(name: string, models: readonly CatalogModel[]): DarkbloomError {
  const meant = nearest(
    name,
    models.map(({ alias }) => alias),
  );
  const hint = meant === undefined ? '`darkbloom-provider models catalog` lists all.' : `Did you mean ${meant}?`;
  return new DarkbloomError('model_not_found', `The catalogue has no model '${name}'. ${hint}`);
}
