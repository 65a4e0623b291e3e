/** Whether `version` is `least` or later; both are numbers with dots, as in `20.19.0`. */
export function gte(version: string, least: string): boolean {
  const [ours, theirs] = [version, least].map((text) => text.split('.').map(Number));
  const at = (ours ?? []).findIndex((number, index) => number !== (theirs?.[index] ?? 0));
  return at < 0 || (ours?.[at] ?? 0) > (theirs?.[at] ?? 0);
}
