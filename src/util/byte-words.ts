/** Bytes of one GiB. */
export const GIB = 1024 ** 3;

const UNITS = ['bytes', 'kB', 'MB', 'GB', 'TB'] as const;

/** A size as a person reads it, in decimal units: `12.11 GB`. */
export function inWords(bytes: number): string {
  const power = Math.min(UNITS.length - 1, bytes < 1000 ? 0 : Math.floor(Math.log10(bytes) / 3));
  const value = bytes / 1000 ** power;
  return `${power === 0 ? value : value.toFixed(2)} ${UNITS[power] ?? ''}`;
}

/** Memory, in GiB with one decimal: `5.3`. The unit stands beside it or in a heading. */
export function gib(bytes: number): string {
  return (bytes / GIB).toFixed(1);
}
