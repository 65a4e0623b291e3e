/** Randomness that is the same for the same seed, on every machine. */

/** Numbers in [0, 1). */
export type Random = () => number;

/** mulberry32: 32 bits of state are plenty for arrivals and lengths. */
export function seeded(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A series of its own for each name: what two loads ask in one repeat begins with the same words otherwise, and one finds
 *  the other's prompts in the cache. */
export function seededFor(name: string, seed: number): Random {
  const mixed = [...Buffer.from(name)].reduce((hash, byte) => Math.imul(hash ^ byte, 0x01000193), 0x811c9dc5);
  return seeded(mixed ^ seed);
}

/** A whole number from `low` to `high`, both included. */
export function between(random: Random, low: number, high: number): number {
  return low + Math.floor(random() * (high - low + 1));
}

/** Waiting times of arrivals that know nothing of each other. */
export function exponential(random: Random, mean: number): number {
  return -Math.log(1 - random()) * mean;
}

/** Lengths as people's are: most near the median, some far longer. `spread` is the standard deviation of the logarithm. */
export function logNormal(random: Random, median: number, spread: number): number {
  const normal = Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
  return median * Math.exp(spread * normal);
}

/** Letters of which any two make one token after a space, in the vocabulary of the generated model. Those that begin a
 *  word of the chat template are left out: they merge differently. */
const LETTERS = [...'etonhrdlcmfwp'];

/** A text of so many tokens for the generated model; for another model, about as many words. */
export function words(random: Random, count: number): string {
  const letter = () => LETTERS[Math.floor(random() * LETTERS.length)] ?? 'e';
  return Array.from({ length: count }, () => letter() + letter()).join(' ');
}
