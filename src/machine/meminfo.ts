/** Reads `/proc/meminfo`, whose figures are KiB; `undefined` if one of the two is missing. */
export function parseMeminfo(text: string): { totalBytes: number; availableBytes: number } | undefined {
  const totalBytes = bytesOf(text, 'MemTotal');
  const availableBytes = bytesOf(text, 'MemAvailable');
  return totalBytes === undefined || availableBytes === undefined ? undefined : { totalBytes, availableBytes };
}

function bytesOf(text: string, label: string): number | undefined {
  const found = new RegExp(`^${label}:\\s+(\\d+) kB$`, 'm').exec(text);
  return found === null ? undefined : Number(found[1]) * 1024;
}
