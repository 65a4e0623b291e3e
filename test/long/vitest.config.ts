import { defineConfig } from 'vitest/config';

/** What takes minutes and is not part of `npm test`. */
export default defineConfig({
  test: {
    dir: import.meta.dirname,
    testTimeout: 900_000,
    pool: 'forks',
  },
});
