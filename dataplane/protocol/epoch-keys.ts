import { createHmac } from 'node:crypto';
import type { DataCipher } from '../data-channel.ts';
import { concatBytes, u16Bytes, utf8Bytes } from './bytes.ts';
import { CIPHER_KEY_BYTES, EPOCH_SECRET_BYTES } from './data-keys.ts';

/** Key and 12-byte IV of one epoch and direction. */
export interface EpochKey {
  readonly key: Uint8Array;
  readonly iv: Uint8Array;
}

/** The data key of the epoch whose secret is `secret` (E_i, 32 bytes). */
export function epochKeyFrom(secret: Uint8Array, cipher: DataCipher): EpochKey {
  return {
    key: expandLabel(secret, 'data_key', CIPHER_KEY_BYTES[cipher]),
    iv: expandLabel(secret, 'data_iv', 12),
  };
}

/** E_{i+1} from E_i. */
export function nextEpochSecret(secret: Uint8Array): Uint8Array {
  return expandLabel(secret, 'datakey upd', EPOCH_SECRET_BYTES);
}

/** HKDF-Expand with SHA-256 and the info `[length 2][label length 1]["ovpn " label][0]`; at most 32 bytes. */
export function expandLabel(secret: Uint8Array, label: string, bytes: number): Uint8Array {
  const fullLabel = utf8Bytes(`ovpn ${label}`);
  const info = concatBytes(u16Bytes(bytes), Uint8Array.of(fullLabel.length), fullLabel, Uint8Array.of(0));
  return createHmac('sha256', secret)
    .update(concatBytes(info, Uint8Array.of(1)))
    .digest()
    .subarray(0, bytes)
    .slice();
}
