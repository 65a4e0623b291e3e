/** The time after which a key's spending counts from nothing again. */
export const SPENDING_WINDOWS = ['daily', 'weekly', 'monthly'] as const;
export type SpendingWindow = (typeof SPENDING_WINDOWS)[number];

const DAY_MS = 86_400_000;
/** 1 January 1970 was a Thursday; weeks begin on Monday. */
const EPOCH_WEEKDAY = 3;

/** When the window that holds `now` began, ms since the epoch, by the UTC calendar; 0 where spending is never forgotten. */
export function windowStart(window: SpendingWindow | undefined, now: number): number {
  const day = Math.floor(now / DAY_MS);
  switch (window) {
    case undefined:
      return 0;
    case 'daily':
      return day * DAY_MS;
    case 'weekly':
      return (day - ((day + EPOCH_WEEKDAY) % 7)) * DAY_MS;
    case 'monthly': {
      const date = new Date(now);
      return Date.UTC(date.getUTCFullYear(), date.getUTCMonth(), 1);
    }
    default:
      return window satisfies never;
  }
}
