/** GGUF `tokenizer.ggml.token_type`. */
const NORMAL = 1;
const BYTE = 6;

/** GPT-2's printable stand-in for each byte: itself where it is printable, else the next one from U+0100 on. */
const BYTE_OF_CHARACTER: ReadonlyMap<string, number> = byteCharacters();

function byteCharacters(): Map<string, number> {
  const bytes = new Map<string, number>();
  let next = 0x100;
  for (let byte = 0; byte < 0x100; byte++) {
    const printable = (byte > 0x20 && byte < 0x7f) || (byte > 0xa0 && byte !== 0xad);
    bytes.set(String.fromCodePoint(printable ? byte : next++), byte);
  }
  return bytes;
}

/** A token's exact bytes in UTF-8, also where it is a part of a character only. `tokenizer` and `type` as the model's
 *  file has them. */
export function tokenBytes(text: string, type: number, tokenizer: string): number[] {
  if (type === BYTE) return [Number.parseInt(text.slice('<0x'.length, -1), 16)];
  if (type !== NORMAL) return [...Buffer.from(text)];
  if (tokenizer !== 'gpt2') return [...Buffer.from(text.replaceAll('\u2581', ' '))];
  return [...text].flatMap((character) => BYTE_OF_CHARACTER.get(character) ?? [...Buffer.from(character)]);
}
