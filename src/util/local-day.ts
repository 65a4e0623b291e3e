/** `2026-06-21`: the calendar day of a moment, where this machine is. */
export function localDay(ms: number): string {
  const moment = new Date(ms);
  const two = (part: number) => String(part).padStart(2, '0');
  return `${moment.getFullYear()}-${two(moment.getMonth() + 1)}-${two(moment.getDate())}`;
}

/** The calendar day `days` before that of a moment. Counted in days, not in hours: some days have 23 or 25. */
export function localDayBefore(ms: number, days: number): string {
  const moment = new Date(ms);
  return localDay(new Date(moment.getFullYear(), moment.getMonth(), moment.getDate() - days).getTime());
}
