import { createCipheriv, createDecipheriv } from 'node:crypto';
import type { DataCipher } from '../../dataplane/data-channel.ts';
import { concatBytes, u16Bytes, u32Bytes, viewOf } from '../../dataplane/protocol/bytes.ts';
import { epochKeyFrom, nextEpochSecret } from '../../dataplane/protocol/epoch-keys.ts';
import { firstByteFor, Opcode } from '../../dataplane/protocol/opcode.ts';

/** Seals and opens data packets with node:crypto, one at a time: the naive twin of the native data path. */

export interface DataDirection {
  readonly cipher: DataCipher;
  /** Cipher key, or E1 for epoch packets. */
  readonly key: Uint8Array;
  /** 8 bytes; unused by epoch packets. */
  readonly implicitIv: Uint8Array;
}

export interface DataHeader {
  readonly format: 'V1' | 'V2' | 'epoch';
  readonly keyId: number;
  /** Unused by V1. */
  readonly peerId: number;
  /** u32, or the 48-bit counter of epoch packets. */
  readonly packetId: number;
  /** Only for epoch packets. */
  readonly epoch?: number;
}

const TAG_BYTES = 16;

export function sealDataPacket(direction: DataDirection, header: DataHeader, plain: Uint8Array): Uint8Array {
  const layout = layoutOf(direction, header);
  const cipher = createCipheriv(nodeCipher(direction.cipher), layout.key, layout.nonce, { authTagLength: TAG_BYTES });
  cipher.setAAD(layout.associatedData, { plaintextLength: plain.length });
  const sealed = concatBytes(cipher.update(plain), cipher.final());
  return header.format === 'epoch'
    ? concatBytes(layout.head, sealed, cipher.getAuthTag())
    : concatBytes(layout.head, cipher.getAuthTag(), sealed);
}

/** The plaintext and the header as read, or undefined when the packet is not genuine. */
export function openDataPacket(
  direction: DataDirection,
  format: 'V1' | 'V2' | 'epoch',
  packet: Uint8Array,
): { readonly header: DataHeader; readonly plain: Uint8Array } | undefined {
  const header = headerOf(format, packet);
  if (header === undefined) return undefined;
  const layout = layoutOf(direction, header);
  const body = packet.subarray(layout.head.length);
  const tag = format === 'epoch' ? body.subarray(body.length - TAG_BYTES) : body.subarray(0, TAG_BYTES);
  const sealed = format === 'epoch' ? body.subarray(0, body.length - TAG_BYTES) : body.subarray(TAG_BYTES);
  const cipher = createDecipheriv(nodeCipher(direction.cipher), layout.key, layout.nonce, { authTagLength: TAG_BYTES });
  cipher.setAAD(layout.associatedData, { plaintextLength: sealed.length });
  cipher.setAuthTag(tag);
  try {
    return { header, plain: concatBytes(cipher.update(sealed), cipher.final()) };
  } catch {
    return undefined;
  }
}

/** What a packet says it is; undefined when it is too short. */
function headerOf(format: 'V1' | 'V2' | 'epoch', packet: Uint8Array): DataHeader | undefined {
  const headBytes = { V1: 5, V2: 8, epoch: 12 }[format];
  if (packet.length <= headBytes + TAG_BYTES) return undefined;
  const view = viewOf(packet);
  const keyId = packet[0] & 7;
  if (format === 'V1') return { format, keyId, peerId: 0, packetId: view.getUint32(1) };
  const peerId = view.getUint32(0) & 0xffffff;
  if (format === 'V2') return { format, keyId, peerId, packetId: view.getUint32(4) };
  const packetId = view.getUint16(6) * 2 ** 32 + view.getUint32(8);
  return { format, keyId, peerId, packetId, epoch: view.getUint16(4) };
}

function layoutOf(direction: DataDirection, header: DataHeader) {
  const peerId = Uint8Array.of(header.peerId >>> 16, header.peerId >>> 8, header.peerId);
  const packetId = u32Bytes(header.packetId);
  if (header.format === 'epoch') {
    const epoch = header.epoch ?? 1;
    const counter = concatBytes(u16Bytes(epoch), u16Bytes(Math.floor(header.packetId / 2 ** 32)), packetId);
    const head = concatBytes(Uint8Array.of(firstByteFor(Opcode.DataV2, header.keyId)), peerId, counter);
    const { key, iv } = epochKeyFrom(epochSecret(direction.key, epoch), direction.cipher);
    return { key, head, associatedData: head, nonce: iv.map((byte, at) => byte ^ (counter[at] ?? 0)) };
  }
  const nonce = concatBytes(packetId, direction.implicitIv);
  if (header.format === 'V1') {
    const head = concatBytes(Uint8Array.of(firstByteFor(Opcode.DataV1, header.keyId)), packetId);
    return { key: direction.key, head, associatedData: packetId, nonce };
  }
  const head = concatBytes(Uint8Array.of(firstByteFor(Opcode.DataV2, header.keyId)), peerId, packetId);
  return { key: direction.key, head, associatedData: head, nonce };
}

function epochSecret(first: Uint8Array, epoch: number): Uint8Array {
  let secret = first;
  for (let at = 1; at < epoch; at += 1) secret = nextEpochSecret(secret);
  return secret;
}

/** node:crypto types AEAD calls by name; the ChaCha name stands for all, since the calls are the same. */
function nodeCipher(cipher: DataCipher): 'chacha20-poly1305' {
  return cipher.toLowerCase() as 'chacha20-poly1305';
}
