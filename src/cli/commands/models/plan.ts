import type { Settings } from '../../../config.js';
import { memoryBudget } from '../../../engine/memory-budget.js';
import { RESERVE_BYTES } from '../../../inference/footprint.js';
import { systemCommands } from '../../../machine/commands.js';
import { macEngineLimit, readMemory } from '../../../machine/memory.js';
import type { CatalogBuild, CatalogModel } from '../../../models/catalog.js';
import { MEMORY_OF_CHIPS, parseMac } from '../../../models/macs.js';
import { planFor, type Plan } from '../../../models/plan.js';
import { GIB } from '../../../util/byte-words.js';
import { printJson } from '../../json-output.js';
import { planOutput, type ModelsPlanOutput } from '../../models-output.js';
import { planLines } from '../../plan-view.js';
import { screenWidth } from '../../screen.js';
import { print } from '../../style.js';
import { here } from './here.js';

export async function plan({ as, json }: { as?: string; json?: true }): Promise<void> {
  const { settings, models } = here();
  const planned =
    as === undefined
      ? planOfLimit('this machine', await limitHere(settings), models, settings)
      : planOfMac(as, models, settings);
  if (json === true) printJson<ModelsPlanOutput>(planOutput(planned.machine, planned));
  else for (const line of planLines(planned, screenWidth(Infinity))) print(line);
}

/** The plan for a Mac by its name: with the limit of its memory, no owner has changed it.
 *  @throws DarkbloomError `usage`. */
export function planOfMac(mac: string, models: readonly CatalogModel[], settings: Settings): MachinePlan {
  const { name, memoryBytes } = parseMac(mac);
  return planOfLimit(name, macEngineLimit(memoryBytes, undefined), models, settings);
}

/** A plan, and what it is for. */
type MachinePlan = Plan & { machine: string };

function planOfLimit(
  machine: string,
  limitBytes: number,
  catalog: readonly CatalogModel[],
  { engine }: Settings,
): MachinePlan {
  const { slots: rows, context_tokens: contextTokens, kv_type: kvType } = engine;
  return { machine, ...planFor({ catalog, limitBytes, rows, contextTokens, kvType }) };
}

/** Memory of the smallest Mac that has room for a build, GB; at least what the catalogue says of its model. */
export function smallestMacGb(model: CatalogModel, build: CatalogBuild, settings: Settings): number {
  const sold = [...new Set(Object.values(MEMORY_OF_CHIPS).flat())].sort((a, b) => a - b);
  const hasRoom = (gigabytes: number) => {
    const limitBytes = macEngineLimit(gigabytes * GIB, undefined);
    return planOfLimit('', limitBytes, [{ ...model, builds: [build] }], settings).lines[0]?.fits !== 'no';
  };
  return Math.max(model.min_ram_gb, sold.find(hasRoom) ?? sold.at(-1) ?? 0);
}

/** What models may take here, bytes; the sums of a plan count the reserve in. */
export async function limitHere({ engine }: Settings): Promise<number> {
  const memory = await readMemory(systemCommands, process.platform);
  return memoryBudget(memory, engine.memory_limit_gb).limitBytes + RESERVE_BYTES;
}
