/** The checksum of a book: CRC-32 (as zlib has it) of its best levels, as docs/api.md describes. */

const POLYNOMIAL = 0xedb88320;
export const CHECKSUM_LEVELS = 10;

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit += 1) {
    value = value & 1 ? POLYNOMIAL ^ (value >>> 1) : value >>> 1;
  }
  return value;
});

/** Return the CRC-32 of an ASCII text, unsigned. */
export function crc32(ascii: string): number {
  let value = 0xffffffff;
  for (let index = 0; index < ascii.length; index += 1) {
    value = (TABLE[(value ^ ascii.charCodeAt(index)) & 0xff] as number) ^ (value >>> 8);
  }
  return (value ^ 0xffffffff) >>> 0;
}
