import type { NativeSampler } from './native-context.js';

/**
 * Native samplers, handed from request to request; there are never more than were in use at once, two for each row. Each
 * holds 12 bytes for every token of the vocabulary until its object is collected, also after `dispose`, and V8 does not
 * know of that memory: made anew for each request they came to hundreds of megabytes before it collected any.
 */
export class NativeSamplers {
  readonly #create: () => NativeSampler;
  readonly #idle: NativeSampler[] = [];
  #disposed = false;

  constructor(create: () => NativeSampler) {
    this.#create = create;
  }

  /** One without a past. */
  take(): NativeSampler {
    return this.#idle.pop() ?? this.#create();
  }

  /** Nothing may be running on it. */
  giveBack(sampler: NativeSampler): void {
    if (this.#disposed) return sampler.dispose();
    // A config drops what it does not name; the generator of random numbers is made anew only for another seed than the last.
    for (const seed of [0, 1]) sampler.applyConfig({ temperature: 0, seed });
    this.#idle.push(sampler);
  }

  dispose(): void {
    this.#disposed = true;
    for (const sampler of this.#idle.splice(0)) sampler.dispose();
  }
}
