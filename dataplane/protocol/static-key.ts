/** Bytes of a static key: two pairs of {cipher 64, hmac 64}, pair 0 first. */
export const STATIC_KEY_BYTES = 256;

const BEGIN = '-----BEGIN OpenVPN Static key V1-----';
const END = '-----END OpenVPN Static key V1-----';

/** Reads the text of a `tls-auth` or `tls-crypt` key file: 256 bytes, or undefined when it is not one. */
export function parseStaticKey(text: string): Uint8Array | undefined {
  const begin = text.indexOf(BEGIN);
  const end = text.indexOf(END, begin);
  if (begin < 0 || end < 0) return undefined;
  const hex = text.slice(begin + BEGIN.length, end).replaceAll(/\s/g, '');
  if (hex.length !== STATIC_KEY_BYTES * 2 || !/^[0-9a-fA-F]*$/.test(hex)) return undefined;
  return Uint8Array.from({ length: STATIC_KEY_BYTES }, (_, at) => Number.parseInt(hex.slice(at * 2, at * 2 + 2), 16));
}

/** The key file's text: 16 bytes a line, ending in a line break. */
export function formatStaticKey(key: Uint8Array): string {
  const lines: string[] = [];
  for (let at = 0; at < key.length; at += 16) {
    lines.push(Array.from(key.subarray(at, at + 16), (byte) => byte.toString(16).padStart(2, '0')).join(''));
  }
  return [BEGIN, ...lines, END, ''].join('\n');
}

/** One direction's half: `cipher` and `hmac` are 64 bytes each, views of `key`. */
export function staticKeyPair(
  key: Uint8Array,
  pair: 0 | 1,
): { readonly cipher: Uint8Array; readonly hmac: Uint8Array } {
  const start = pair * 128;
  return { cipher: key.subarray(start, start + 64), hmac: key.subarray(start + 64, start + 128) };
}
