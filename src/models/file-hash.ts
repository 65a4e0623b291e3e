import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';

const READ_BYTES = 1024 * 1024;

/** The SHA-256 of a whole file, in hex. `read` hears how many bytes were read so far.
 *  @throws AbortError when the signal fires, or what the system says of a file that cannot be read. */
export async function sha256Of(
  path: string,
  { signal, read }: { signal?: AbortSignal | undefined; read?: ((bytes: number) => void) | undefined } = {},
): Promise<string> {
  const hash = createHash('sha256');
  let bytes = 0;
  const stream = createReadStream(path, { highWaterMark: READ_BYTES, ...(signal === undefined ? {} : { signal }) });
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    hash.update(chunk);
    bytes += chunk.length;
    read?.(bytes);
  }
  return hash.digest('hex');
}
