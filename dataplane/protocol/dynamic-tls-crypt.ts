import { STATIC_KEY_BYTES } from './static-key.ts';

/** Label of the TLS exporter; no context, 256 bytes, from the session's first TLS connection. */
export const DYNAMIC_TLS_CRYPT_LABEL = 'EXPORTER-OpenVPN-dynamic-tls-crypt';

/**
 * The tls-crypt key of all key ids ≥ 1 of a session.
 * @param exported 256 bytes; @param baseKey the static key, or the client key of tls-crypt-v2; null without a wrap.
 */
export function dynamicTlsCryptKey(exported: Uint8Array, baseKey: Uint8Array | null): Uint8Array {
  const key = exported.slice(0, STATIC_KEY_BYTES);
  if (baseKey !== null) for (let at = 0; at < STATIC_KEY_BYTES; at += 1) key[at] ^= baseKey[at];
  return key;
}
