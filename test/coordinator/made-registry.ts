import type { StartedCoordinator } from './started-coordinator.js';

/** The body that registers a build which a `ScriptedProvider` or a dialling one could have. */
export function modelBody(id: string, changes: object = {}): object {
  return {
    model_id: id,
    display_name: 'Tiny',
    family: 'llama',
    architecture: 'llama',
    quantization: 'Q4_K_M',
    max_context_length: 4_096,
    max_output_length: 512,
    min_ram_gb: 1,
    promote: true,
    ...changes,
  };
}

/** The owner registers builds and gives one of them a name. */
export async function registerModels(
  house: StartedCoordinator,
  { alias, builds }: { alias: string; builds: readonly string[] },
): Promise<void> {
  const asOwner = (method: string, path: string, body: unknown) =>
    house.call(method, path, { token: house.ownerToken, body });
  for (const id of builds) await asOwner('POST', '/v1/admin/models/register', modelBody(id));
  const [desired_build, previous_build] = builds;
  await asOwner('PUT', `/v1/admin/aliases/${alias}`, { desired_build, previous_build });
}
