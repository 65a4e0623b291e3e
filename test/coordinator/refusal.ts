import { expect } from 'vitest';

/** An answer of `StartedCoordinator.call` that refuses: status, type and, where a field is wrong, its name. */
export const refusal = (status: number, type: string, param?: string) => ({
  status,
  json: {
    error: { type, code: type, message: expect.any(String) as string, ...(param === undefined ? {} : { param }) },
  },
});
