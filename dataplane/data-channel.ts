import type { Ipv4 } from '../net/ipv4.ts';

/**
 * The port between the control thread and the tunnel threads: the verbs of OpenVPN's kernel
 * data-channel interface (new peer, new key, swap keys, delete peer) and its notifications.
 * Types only. The control side programs; tunnel threads own replay windows, keys in use and liveness.
 */
export interface DataChannel {
  newPeer(peer: PeerRecord): void;
  /** Moves a UDP peer to another address; answers go there from now on. */
  setRemote(peerId: number, remote: SocketAddressBytes): void;
  /** Groups as interned by the same engine; takes effect with the next batch. */
  setGroups(peerId: number, groups: Int32Array): void;
  deletePeer(peerId: number): void;
  /** Installs a key beside those that exist. `primary` becomes the sending key at once (first key of a peer). */
  newKey(peerId: number, slot: 'primary' | 'secondary', key: DataKeyMaterial): void;
  /**
   * Makes `secondary` primary. The old primary keeps receiving until deleteKey. The tunnel thread does
   * this by itself on the first valid packet of the new key, or 120 s after newKey; see KeySwitched.
   */
  swapKeys(peerId: number): void;
  deleteKey(peerId: number, keyId: number): void;
  setPolicy(policy: PolicyTables): void;
  /** Control-channel bytes to a TCP peer, without the length prefix. */
  transmitTcp(connection: TcpConnectionId, bytes: Uint8Array): void;
  /** Closes after what is queued has left, at most 5 s later. */
  closeTcp(connection: TcpConnectionId): void;
}

/** thread index in the low 8 bits, then a counter: never reused while the process lives. */
export type TcpConnectionId = number;

/**
 * An opaque remote UDP address, SOCKET_ADDRESS_BYTES long: family, port and address of the remote, and the local
 * address and interface the client used, so that answers leave from there. Layout: native/socket_address.h.
 */
export type SocketAddressBytes = Uint8Array;
export const SOCKET_ADDRESS_BYTES = 64;

export interface PeerRecord {
  /** 0..16777214; slot × threads + thread. */
  readonly peerId: number;
  /** Tells two holders of one peer id apart in memos and notifications; never reused. */
  readonly generation: number;
  readonly transport:
    | { readonly kind: 'udp'; readonly remote: SocketAddressBytes }
    | { readonly kind: 'tcp'; readonly connection: TcpConnectionId };
  readonly tunnelAddress: Ipv4;
  readonly groups: Int32Array;
  /** DATA_V2 carries the peer id; clients without IV_PROTO bit 1 get V1. */
  readonly format: 'V1' | 'V2';
  /** `stub-v2` escapes nothing of ours; `comp-lzo` prefixes 0xfa. */
  readonly framing: 'none' | 'stub-v2' | 'comp-lzo';
  /** Inner TCP MSS ceiling for IPv4, bytes. */
  readonly maxSegmentBytes: number;
  /** Largest inner packet, bytes. */
  readonly tunMtu: number;
  /** Send a ping after this long without sending anything; 0 = never. */
  readonly pingMs: number;
  /** Report `keepaliveLost` after this long without a valid packet; 0 = never. */
  readonly pingTimeoutMs: number;
}

export type DataCipher = 'AES-128-GCM' | 'AES-192-GCM' | 'AES-256-GCM' | 'CHACHA20-POLY1305';

/** Raw key bytes on their way into native memory; the receiver wipes them. */
export interface DataKeyMaterial {
  readonly keyId: number;
  readonly cipher: DataCipher;
  readonly epochFormat: boolean;
  /** Server's sending direction: cipher key (or E1 for epoch keys) and implicit IV (8 bytes). */
  readonly encryptKey: Uint8Array;
  readonly encryptIv: Uint8Array;
  readonly decryptKey: Uint8Array;
  readonly decryptIv: Uint8Array;
}

/**
 * Routes and authorization, flat and immutable in one SharedArrayBuffer (layout: policy/policy-tables.ts).
 * `epoch` grows with each setPolicy: memos of an older epoch are void.
 */
export interface PolicyTables {
  readonly epoch: number;
  readonly shared: SharedArrayBuffer;
}

/** Why a TCP connection was turned away before anything was kept for it; metric labels. */
export const TCP_REFUSALS = [
  'control-thread-behind',
  'no-descriptor-left',
  'no-kernel-memory-left',
  'too-many-tcp-connections',
  'too-many-tcp-connections-of-one-subscriber',
] as const;
export type TcpRefusal = (typeof TCP_REFUSALS)[number];

/** What tunnel threads tell the control thread. */
export type DataChannelNotification =
  /** A control packet that arrived by TCP, or that was glued behind data on a UDP flow. `remote` null for TCP. */
  | {
      readonly kind: 'controlPacket';
      readonly bytes: Uint8Array;
      readonly remote: SocketAddressBytes | null;
      readonly connection: TcpConnectionId | null;
    }
  | { readonly kind: 'tcpOpened'; readonly connection: TcpConnectionId; readonly remote: SocketAddressBytes }
  | { readonly kind: 'tcpClosed'; readonly connection: TcpConnectionId; readonly reason: string }
  /** `count` connections since the last report were turned away for one reason, this remote's last. */
  | {
      readonly kind: 'tcpRefused';
      readonly reason: TcpRefusal;
      readonly remote: SocketAddressBytes;
      readonly count: number;
    }
  /** A valid, fresh packet came from another address; at most once per peer in 100 ms. */
  | {
      readonly kind: 'floated';
      readonly peerId: number;
      readonly generation: number;
      readonly remote: SocketAddressBytes;
    }
  | { readonly kind: 'keepaliveLost'; readonly peerId: number; readonly generation: number }
  | { readonly kind: 'exitNotified'; readonly peerId: number; readonly generation: number }
  /** The first valid packet on `keyId` arrived, or its 120 s ran out: it is the sending key now. */
  | { readonly kind: 'keySwitched'; readonly peerId: number; readonly generation: number; readonly keyId: number }
  /** Renew soon (7/8 of the AEAD limit, packet id 0xFF000000, epoch 0xF000, decrypt failures), or the key no longer sends. */
  | { readonly kind: 'keyExhausted'; readonly peerId: number; readonly generation: number; readonly keyId: number };

/** Inner traffic of one peer since it was made; read from shared memory, no message per packet. */
export interface PeerTraffic {
  readonly ingressBytes: number;
  readonly ingressPackets: number;
  readonly egressBytes: number;
  readonly egressPackets: number;
  /** Instant of the last authenticated data packet, ms of the monotonic clock. */
  readonly lastReceived: number;
}
