import type { CoordinatorMessage } from '../protocol/coordinator-messages.js';
import type { Fleet } from './fleet.js';
import type { ProviderSession } from './provider-session.js';
import type { Alias, Registry } from './registry.js';

type DesiredModels = Extract<CoordinatorMessage, { type: 'desired_models' }>;

/** What a machine that announced these builds should come to serve: of the aliases that it has any build of, the one
 *  that is desired now. Aliases that it has nothing of are its owner's choice. Pure. */
export function desiredModels(
  announced: ReadonlySet<string>,
  aliases: readonly Alias[],
  active: (build: string) => boolean,
): DesiredModels {
  const models = aliases
    .filter(({ desiredBuild }) => active(desiredBuild))
    .filter(({ desiredBuild, previousBuild, retiredBuilds }) =>
      [desiredBuild, previousBuild, ...retiredBuilds].some((build) => build !== undefined && announced.has(build)),
    )
    .map(({ id, desiredBuild, previousBuild }) => ({
      model_name: id,
      desired_build: desiredBuild,
      ...(previousBuild === undefined ? {} : { previous_build: previousBuild }),
    }));
  return { type: 'desired_models', models };
}

/** What this machine should come to serve now. */
export function desiredOf({ machine }: ProviderSession, registry: Registry): DesiredModels {
  const active = (build: string) => registry.build(build)?.active === true;
  return desiredModels(new Set(machine.models.keys()), registry.aliases(), active);
}

/** Tells every connected machine what it should come to serve. */
export function desire({ registry, fleet }: { registry: Registry; fleet: Fleet }): void {
  for (const session of fleet.sessions) session.tell(desiredOf(session, registry));
}
