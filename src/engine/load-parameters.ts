import type { Settings } from '../config.js';
import type { LoadOrder } from '../runner-protocol/messages.js';

/** How a model is loaded, beside which and how large. */
export type LoadParameters = Omit<LoadOrder, 'type' | 'modelPath' | 'rows' | 'contextTokens' | 'prefixStoreBytes'>;

/** The owner's settings in the words of the runner. */
export function loadParametersOf(engine: Settings['engine']): LoadParameters {
  return {
    ...(engine.threads === undefined ? {} : { threads: engine.threads }),
    gpuLayers: engine.gpu_layers,
    flashAttention: engine.flash_attention,
    kvType: engine.kv_type,
    mmap: engine.mmap,
    mlock: engine.mlock,
  };
}
