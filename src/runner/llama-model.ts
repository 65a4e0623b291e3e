import { getLlama, LlamaLogLevel, type Llama, type LlamaModel } from 'node-llama-cpp';
import type { LoadOrder } from '../runner-protocol/messages.js';

/** The weights, and what they are loaded and run with. */

/** Loads the weights, without a context. `progress` hears of each part that was read.
 *  @throws Error of the runtime, when the file cannot be loaded or memory is short. */
export async function openModel(
  order: LoadOrder,
  log: (line: string) => void,
  progress?: () => void,
): Promise<{ llama: Llama; model: LlamaModel }> {
  const llama = await getLlama({
    build: 'never',
    skipDownload: true,
    progressLogs: false,
    maxThreads: 0,
    logLevel: LlamaLogLevel.warn,
    logger: (level, message) => log(`${level}: ${message.trimEnd()}`),
  });
  const model = await llama.loadModel({
    modelPath: order.modelPath,
    gpuLayers: order.gpuLayers ?? 'auto',
    useMmap: mapped(order.mmap, llama),
    useMlock: order.mlock ?? false,
    ...(progress === undefined ? {} : { onLoadProgress: progress }),
  });
  return { llama, model };
}

/** On Linux mapped weights lie on small pages. A CPU that computes with them is faster where they are read into memory of
 *  the process's own, which may be on large ones. */
function mapped(word: LoadOrder['mmap'], llama: Llama): 'auto' | boolean {
  const wanted = switchOf(word);
  return wanted === 'auto' && process.platform === 'linux' && llama.gpu === false ? false : wanted;
}

/** One core stays for this process's own loop and for the daemon: the runtime's threads spin at every barrier, so one
 *  that has to share its core holds up all the others. */
export function defaultThreads(llama: Llama): number {
  return Math.max(1, llama.cpuMathCores - 1);
}

export const KV_TYPES = { f16: 'F16', q8_0: 'Q8_0', q4_0: 'Q4_0' } as const;

export function switchOf(word: 'auto' | 'on' | 'off' = 'auto'): 'auto' | boolean {
  return word === 'auto' ? word : word === 'on';
}

/** On a Mac the buffers of the GPU lie in the same memory and may or may not count as the process's own: the larger of
 *  both figures, not their sum. */
export async function memoryOf(llama: Llama): Promise<number> {
  const { gpuVram, cpuRam } = await llama.getLlamaMemoryUsage();
  return Math.max(gpuVram + cpuRam, process.memoryUsage.rss());
}
