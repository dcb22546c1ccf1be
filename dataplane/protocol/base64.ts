const ALPHABET = /^[A-Za-z0-9+/]*={0,2}$/;

/** Standard alphabet with padding. */
export function encodeBase64(bytes: Uint8Array): string {
  let binary = '';
  // In slices: an argument list has a limited length.
  for (let at = 0; at < bytes.length; at += 8192) binary += String.fromCharCode(...bytes.subarray(at, at + 8192));
  return btoa(binary);
}

/** Decodes the standard alphabet, padded to a multiple of four; anything else, blanks too, is undefined. */
export function decodeBase64(text: string): Uint8Array | undefined {
  if (text.length % 4 !== 0 || !ALPHABET.test(text)) return undefined;
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let at = 0; at < binary.length; at += 1) bytes[at] = binary.charCodeAt(at);
  return bytes;
}
