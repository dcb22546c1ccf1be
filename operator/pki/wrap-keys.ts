import { createCipheriv, createHmac } from 'node:crypto';
import { TerminalError } from '../../net/errors.ts';

/** Random bytes: `count` of them. */
export type RandomSource = (count: number) => Uint8Array;

/** The text of a new static key file, for tls-auth and tls-crypt. A secret. */
export function newStaticKey(random: RandomSource): string {
  const hex = Buffer.from(random(STATIC_KEY_BYTES)).toString('hex');
  const lines = hex.match(/.{32}/g) ?? [];
  return ['-----BEGIN OpenVPN Static key V1-----', ...lines, '-----END OpenVPN Static key V1-----', ''].join('\n');
}

/** The PEM text of a new tls-crypt-v2 server key. A secret. */
export function newTlsCryptV2ServerKey(random: RandomSource): string {
  return pem(SERVER_KEY_LABEL, random(SERVER_KEY_BYTES));
}

/**
 * The PEM text of a new tls-crypt-v2 client key, for one exported file: 256 random bytes, and the
 * same wrapped for the server together with the time of creation.
 *
 * @param now seconds since 1970
 * @throws TerminalError when the server key is not one
 */
export function newTlsCryptV2ClientKey(serverKeyPem: string, now: number, random: RandomSource): string {
  const clientKey = random(STATIC_KEY_BYTES);
  const metadata = Buffer.alloc(9);
  metadata[0] = METADATA_TIMESTAMP;
  metadata.writeBigUInt64BE(BigInt(now), 1);
  return pem(
    CLIENT_KEY_LABEL,
    Buffer.concat([clientKey, wrapClientKey(serverKeyBytes(serverKeyPem), clientKey, metadata)]),
  );
}

/** WKc: [tag 32][AES-256-CTR(client key ‖ metadata)][length of all 2]. */
export function wrapClientKey(serverKey: Uint8Array, clientKey: Uint8Array, metadata: Uint8Array): Uint8Array {
  const length = Buffer.alloc(2);
  length.writeUInt16BE(TAG_BYTES + clientKey.length + metadata.length + length.length);
  const encryptionKey = serverKey.subarray(0, 32);
  const authenticationKey = serverKey.subarray(64, 96);
  const tag = createHmac('sha256', authenticationKey).update(length).update(clientKey).update(metadata).digest();
  const cipher = createCipheriv('aes-256-ctr', encryptionKey, tag.subarray(0, 16));
  return Buffer.concat([tag, cipher.update(clientKey), cipher.update(metadata), cipher.final(), length]);
}

function serverKeyBytes(text: string): Uint8Array {
  const match = new RegExp(
    `-----BEGIN ${SERVER_KEY_LABEL}-----([A-Za-z0-9+/=\\s]+)-----END ${SERVER_KEY_LABEL}-----`,
  ).exec(text);
  const bytes = Buffer.from(match?.[1] ?? '', 'base64');
  if (bytes.length !== SERVER_KEY_BYTES) {
    throw new TerminalError(`The tls-crypt-v2 server key is not a PEM block "${SERVER_KEY_LABEL}" of 128 bytes`);
  }
  return bytes;
}

function pem(label: string, bytes: Uint8Array): string {
  const lines =
    Buffer.from(bytes)
      .toString('base64')
      .match(/.{1,64}/g) ?? [];
  return [`-----BEGIN ${label}-----`, ...lines, `-----END ${label}-----`, ''].join('\n');
}

const STATIC_KEY_BYTES = 256;
const SERVER_KEY_BYTES = 128;
const TAG_BYTES = 32;
const METADATA_TIMESTAMP = 1;
const SERVER_KEY_LABEL = 'OpenVPN tls-crypt-v2 server key';
const CLIENT_KEY_LABEL = 'OpenVPN tls-crypt-v2 client key';
