import type { DataCipher, DataKeyMaterial } from '../../dataplane/data-channel.ts';
import { concatBytes } from '../../dataplane/protocol/bytes.ts';
import { isDataOpcode, keyIdOf, Opcode, opcodeOf } from '../../dataplane/protocol/opcode.ts';
import { openDataPacket, sealDataPacket, type DataDirection } from './data-packet.ts';
import { fromHex, toHex } from './hex.ts';

export const PING_PAYLOAD_BYTES = fromHex('2a187bf3641eb4cb07ed2d0a981fc748');
export const OCC_EXIT_PAYLOAD_BYTES = fromHex('287f346bd4ef7a812d56b8d3afc5459c06');

export interface ClientDataFormat {
  /** Null: V1, no peer id was pushed. */
  readonly peerId: number | null;
  readonly framing: 'none' | 'stub-v2' | 'comp-lzo';
  readonly epochFormat: boolean;
}

interface ClientDataKey {
  readonly keyId: number;
  readonly send: DataDirection;
  readonly receive: DataDirection;
  nextPacketId: number;
  sendEpoch: number;
  readonly seen: Set<string>;
}

/** The client's keys: seals on the sending key, opens on any of the last two. Unbounded replay memory: for tests. */
export class ClientDataChannel {
  readonly #format: ClientDataFormat;
  readonly #keys: ClientDataKey[] = [];
  #sending: ClientDataKey | undefined;

  constructor(format: ClientDataFormat) {
    this.#format = format;
  }

  get sendingKeyId(): number | undefined {
    return this.#sending?.keyId;
  }

  /** Adds a key as the server sees it; the first becomes the sending key. */
  addKey(key: DataKeyMaterial): void {
    const direction = (cipher: DataCipher, bytes: Uint8Array, implicitIv: Uint8Array): DataDirection => ({
      cipher,
      key: bytes,
      implicitIv,
    });
    const added: ClientDataKey = {
      keyId: key.keyId,
      send: direction(key.cipher, key.decryptKey, key.decryptIv),
      receive: direction(key.cipher, key.encryptKey, key.encryptIv),
      nextPacketId: 1,
      sendEpoch: 1,
      seen: new Set(),
    };
    this.#keys.push(added);
    if (this.#keys.length > 2) this.#keys.shift();
    this.#sending ??= added;
  }

  sendOn(keyId: number): void {
    this.#sending = this.#keys.find((key) => key.keyId === keyId) ?? this.#sending;
  }

  /** One wire packet, or undefined before the first key. */
  seal(inner: Uint8Array): Uint8Array | undefined {
    const key = this.#sending;
    if (key === undefined) return undefined;
    const payload = this.#format.framing === 'comp-lzo' ? concatBytes(Uint8Array.of(0xfa), inner) : inner;
    const packetId = key.nextPacketId;
    key.nextPacketId += 1;
    const header = { keyId: key.keyId, peerId: this.#format.peerId ?? 0, packetId };
    return this.#format.epochFormat
      ? sealDataPacket(key.send, { ...header, format: 'epoch', epoch: key.sendEpoch }, payload)
      : sealDataPacket(key.send, { ...header, format: this.#format.peerId === null ? 'V1' : 'V2' }, payload);
  }

  /** The inner payload, pings included; undefined for a packet that is not genuine or not fresh. */
  open(packet: Uint8Array): { readonly inner: Uint8Array; readonly keyId: number } | undefined {
    if (packet.length === 0 || !isDataOpcode(opcodeOf(packet[0]))) return undefined;
    const key = this.#keys.find(({ keyId }) => keyId === keyIdOf(packet[0]));
    if (key === undefined) return undefined;
    const plainFormat = opcodeOf(packet[0]) === Opcode.DataV1 ? 'V1' : 'V2';
    const opened = openDataPacket(key.receive, this.#format.epochFormat ? 'epoch' : plainFormat, packet);
    if (opened === undefined) return undefined;
    const { packetId, epoch = 0 } = opened.header;
    const stamp = `${epoch}/${packetId}`;
    if (packetId === 0 || key.seen.has(stamp)) return undefined;
    key.seen.add(stamp);
    if (epoch > key.sendEpoch) {
      key.sendEpoch = epoch;
      key.nextPacketId = 1;
    }
    const inner = this.#unframe(opened.plain);
    return inner === undefined ? undefined : { inner, keyId: key.keyId };
  }

  #unframe(payload: Uint8Array): Uint8Array | undefined {
    if (this.#format.framing === 'comp-lzo') return payload[0] === 0xfa ? payload.subarray(1) : undefined;
    return payload;
  }
}

export function isPing(inner: Uint8Array): boolean {
  return inner.length === PING_PAYLOAD_BYTES.length && toHex(inner) === toHex(PING_PAYLOAD_BYTES);
}
