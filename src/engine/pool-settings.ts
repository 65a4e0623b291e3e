import type { Environment, Settings } from '../config.js';
import type { LoadOrder } from '../runner-protocol/messages.js';
import { memoryBudget, type MachineMemory } from './memory-budget.js';
import type { PoolOptions } from './pool.js';

const MINUTE_MS = 60_000;
/** What a runner sees of this process's environment. */
const RUNNER_VARIABLES = ['PATH', 'HOME', 'TMPDIR', 'LANG'] as const;

/** How a model is loaded, beside which and how large. */
export type LoadParameters = Omit<LoadOrder, 'type' | 'modelPath' | 'rows' | 'contextTokens' | 'prefixMemory'>;

/** The engine as the owner's settings want it.
 *  @throws DarkbloomError `config_invalid` for a memory limit of more than the machine has. */
export function poolOptionsOf(
  { engine, models }: Settings,
  memory: MachineMemory,
  environment: Environment,
): Omit<PoolOptions, 'clock' | 'log'> {
  return {
    rows: engine.slots,
    contextTokens: engine.context_tokens,
    parameters: loadParametersOf(engine),
    environment: Object.fromEntries(
      RUNNER_VARIABLES.flatMap((name) => (environment[name] === undefined ? [] : [[name, environment[name]]])),
    ),
    budget: memoryBudget(memory, engine.memory_limit_gb),
    maxLoadedModels: engine.max_loaded_models,
    idleUnloadMs: engine.idle_unload_minutes * MINUTE_MS,
    keepLoaded: models.keep_loaded,
  };
}

/** The owner's settings in the words of the runner. */
function loadParametersOf(engine: Settings['engine']): LoadParameters {
  return {
    ...(engine.threads === undefined ? {} : { threads: engine.threads }),
    gpuLayers: engine.gpu_layers,
    flashAttention: engine.flash_attention,
    kvType: engine.kv_type,
    mmap: engine.mmap,
    mlock: engine.mlock,
  };
}
