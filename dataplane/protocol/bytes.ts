/** Joins byte strings into a new one. */
export function concatBytes(...parts: readonly Uint8Array[]): Uint8Array {
  let length = 0;
  for (const part of parts) length += part.length;
  const joined = new Uint8Array(length);
  let offset = 0;
  for (const part of parts) {
    joined.set(part, offset);
    offset += part.length;
  }
  return joined;
}

export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Whether every byte is zero; looks at all of them whatever they are. */
export function isAllZero(bytes: Uint8Array): boolean {
  let bits = 0;
  for (const byte of bytes) bits |= byte;
  return bits === 0;
}

/** Two bytes, most significant first. */
export function u16Bytes(value: number): Uint8Array {
  return Uint8Array.of(value >>> 8, value);
}

/** Four bytes, most significant first. */
export function u32Bytes(value: number): Uint8Array {
  return Uint8Array.of(value >>> 24, value >>> 16, value >>> 8, value);
}

/** Eight bytes, most significant first; `value` is a whole number up to 2^53. */
export function u64Bytes(value: number): Uint8Array {
  const bytes = new Uint8Array(8);
  viewOf(bytes).setBigUint64(0, BigInt(value));
  return bytes;
}

const UTF8_ENCODER = new TextEncoder();
// A byte order mark is text like any other here: stripping it would make two passwords equal.
const UTF8_DECODER = new TextDecoder('utf-8', { ignoreBOM: true });

export function utf8Bytes(text: string): Uint8Array {
  return UTF8_ENCODER.encode(text);
}

/** Invalid sequences become U+FFFD. */
export function utf8Text(bytes: Uint8Array): string {
  return UTF8_DECODER.decode(bytes);
}
