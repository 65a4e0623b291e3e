/** On a Mac the pool of libuv threads samples one token for each row at once, beside the runtime's own work. */
const SPARE_POOL_THREADS = 4;

/**
 * What a process that steps a model needs in its environment before it starts.
 *
 * One libuv thread everywhere but on a Mac: for each step a CPU's threads are made anew by the pool thread that asks,
 * they wait for each other by spinning, and beside sleeping pool threads Linux puts two of them on one core, which makes a
 * step last up to twice as long. And glibc is asked to lay large allocations, the weights and the KV cache among them, on
 * huge pages where the system gives them on request: a step of one row is 5 % faster, and not by chance slower for a
 * process's life (docs/performance.md).
 */
export function computingEnvironment(rows: number): Readonly<Record<string, string>> {
  return process.platform === 'darwin'
    ? { UV_THREADPOOL_SIZE: String(rows + SPARE_POOL_THREADS) }
    : { UV_THREADPOOL_SIZE: '1', GLIBC_TUNABLES: 'glibc.malloc.hugetlb=1' };
}
