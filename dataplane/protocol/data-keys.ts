import { createHmac, createSecretKey } from 'node:crypto';
import type { DataCipher, DataKeyMaterial } from '../data-channel.ts';
import { concatBytes, isAllZero, utf8Bytes } from './bytes.ts';
import type { ClientKeySource, ServerKeySource } from './key-method.ts';

/** Label of the TLS exporter for data keys; no context, 256 bytes, from the TLS connection of that key. */
export const DATA_KEYS_LABEL = 'EXPORTER-OpenVPN-datakeys';
export const KEY_BLOCK_BYTES = 256;
export const IMPLICIT_IV_BYTES = 8;
/** E1, the first epoch secret, is 32 bytes whatever the cipher. */
export const EPOCH_SECRET_BYTES = 32;

export const CIPHER_KEY_BYTES: Readonly<Record<DataCipher, number>> = {
  'AES-128-GCM': 16,
  'AES-192-GCM': 24,
  'AES-256-GCM': 32,
  'CHACHA20-POLY1305': 32,
};

export interface PrfInput {
  readonly client: ClientKeySource;
  readonly server: ServerKeySource;
  /** 8 bytes each. */
  readonly clientSessionId: Uint8Array;
  readonly serverSessionId: Uint8Array;
}

/** The 256-byte key block of clients without exporter keys. */
export function keyBlockFromPrf(input: PrfInput): Uint8Array {
  const { client, server } = input;
  const master = prf10(
    client.preMaster,
    concatBytes(utf8Bytes('OpenVPN master secret'), client.random1, server.random1),
    48,
  );
  const seed = concatBytes(
    utf8Bytes('OpenVPN key expansion'),
    client.random2,
    server.random2,
    input.clientSessionId,
    input.serverSessionId,
  );
  const block = prf10(master, seed, KEY_BLOCK_BYTES);
  master.fill(0);
  return block;
}

/** The PRF of TLS 1.0; the label is the start of `seed`. */
export function prf10(secret: Uint8Array, seed: Uint8Array, bytes: number): Uint8Array {
  const half = Math.ceil(secret.length / 2);
  const md5 = expandHash('md5', secret.subarray(0, half), seed, bytes);
  const sha1 = expandHash('sha1', secret.subarray(secret.length - half), seed, bytes);
  return md5.map((byte, at) => byte ^ sha1[at]);
}

function expandHash(digest: 'md5' | 'sha1', key: Uint8Array, seed: Uint8Array, bytes: number): Uint8Array {
  const keyObject = createSecretKey(key);
  const hmac = (...parts: Uint8Array[]): Uint8Array =>
    createHmac(digest, keyObject)
      .update(concatBytes(...parts))
      .digest();
  const output = new Uint8Array(bytes);
  let a = hmac(seed);
  for (let at = 0; at < bytes;) {
    const block = hmac(a, seed).subarray(0, bytes - at);
    output.set(block, at);
    at += block.length;
    a = hmac(a);
  }
  return output;
}

export interface DataKeyFormat {
  readonly keyId: number;
  readonly cipher: DataCipher;
  readonly epochFormat: boolean;
}

/**
 * Cuts a key block into the server's two directions.
 * Block: client→server `[cipher 64][hmac 64]`, then server→client the same. For epoch keys the keys are E1 of each.
 * @returns undefined for an all-zero key, which must never protect anything.
 */
export function dataKeysFromBlock(block: Uint8Array, format: DataKeyFormat): DataKeyMaterial | undefined {
  const keyBytes = format.epochFormat ? EPOCH_SECRET_BYTES : CIPHER_KEY_BYTES[format.cipher];
  const decryptKey = block.slice(0, keyBytes);
  const encryptKey = block.slice(128, 128 + keyBytes);
  if (isAllZero(decryptKey) || isAllZero(encryptKey)) return undefined;
  return {
    ...format,
    encryptKey,
    encryptIv: block.slice(192, 192 + IMPLICIT_IV_BYTES),
    decryptKey,
    decryptIv: block.slice(64, 64 + IMPLICIT_IV_BYTES),
  };
}
