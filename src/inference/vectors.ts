/** Vectors as base64 of little-endian 32-bit floats: as OpenAI writes them, and as the wire carries them. */

const SIZE = Float32Array.BYTES_PER_ELEMENT;

export function vectorToBase64(vector: Float32Array): string {
  const bytes = Buffer.alloc(vector.length * SIZE);
  vector.forEach((value, index) => bytes.writeFloatLE(value, index * SIZE));
  return bytes.toString('base64');
}

export function vectorFromBase64(text: string): Float32Array {
  const bytes = Buffer.from(text, 'base64');
  return Float32Array.from({ length: Math.floor(bytes.length / SIZE) }, (_, index) => bytes.readFloatLE(index * SIZE));
}
