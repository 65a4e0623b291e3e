/** Use over time, in hours or days of the time zone of whoever looks. Pure. */

export type Period = 'day' | 'week' | 'month';

/** Sums of one quarter of an hour and one model. */
export interface UsageRow {
  at: string;
  model: string;
  requests: number;
  prompt_tokens: number;
  completion_tokens: number;
  cost_micro_usd: number;
}

/** One hour or one day. */
export interface Bar {
  /** Milliseconds since the Unix epoch. */
  start: number;
  label: string;
  requests: number;
  prompt: number;
  completion: number;
  cost: number;
}

/** The bars of a period up to now, the oldest first. Pure. */
export function barsOf(rows: readonly UsageRow[], period: Period, now: Date): Bar[] {
  const starts = startsOf(period, now);
  const bars = starts.map((start): Bar => ({
    start: start.getTime(),
    label: labelOf(start, period),
    requests: 0,
    prompt: 0,
    completion: 0,
    cost: 0,
  }));
  for (const row of rows) {
    const at = Date.parse(row.at);
    const bar = bars[starts.findLastIndex((start) => start.getTime() <= at)];
    if (bar === undefined) continue;
    bar.requests += row.requests;
    bar.prompt += row.prompt_tokens;
    bar.completion += row.completion_tokens;
    bar.cost += row.cost_micro_usd;
  }
  return bars;
}

/** Where each bar begins; days by the calendar, which may have 23 or 25 hours. */
function startsOf(period: Period, now: Date): Date[] {
  if (period === 'day') {
    const hour = new Date(now).setMinutes(0, 0, 0);
    return Array.from({ length: 24 }, (_, index) => new Date(hour - (23 - index) * 3_600_000));
  }
  const count = period === 'week' ? 7 : 30;
  return Array.from(
    { length: count },
    (_, index) => new Date(now.getFullYear(), now.getMonth(), now.getDate() - (count - 1 - index)),
  );
}

function labelOf(start: Date, period: Period): string {
  return period === 'day'
    ? start.toLocaleTimeString('en-GB', { hour: '2-digit', minute: '2-digit' })
    : start.toLocaleDateString('en-GB', { day: 'numeric', month: 'short' });
}
