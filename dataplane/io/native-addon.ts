/**
 * The native addon's surface. It moves bytes and protects them; it knows no policy. Every function
 * works on memory the caller owns, returns a count or a negative errno, and throws only on misuse
 * (wrong type, index outside the batch). Each function may be called from any thread; one batch,
 * one socket and one key are used by one thread at a time.
 */
export interface NativeAddon {
  // ---- batches -------------------------------------------------------------------------------
  /** Registers the arrays of a batch once, so that calls pass a number and no array is looked up per call. */
  registerBatch(arrays: BatchArrays): BatchHandle;
  releaseBatch(batch: BatchHandle): void;

  // ---- UDP -----------------------------------------------------------------------------------
  /** Bound, non-blocking, SO_REUSEPORT, packet info on, GRO on where the kernel has it. Dual stack on `::`. */
  udpOpen(options: {
    address: string;
    port: number;
    gro: boolean;
    receiveBufferBytes: number;
    sendBufferBytes: number;
  }): { fd: number; gro: boolean; gso: boolean; port: number; receiveBufferBytes: number; sendBufferBytes: number };
  /** Attaches the steering filter to the reuseport group: DATA_V2 → socket peerId & (threads − 1), all else → socket `threads`. */
  udpSteer(fd: number, threads: number): void;
  /**
   * One recvmmsg. Slots are one datagram each (GRO segments are split): offset and length in `bytes`,
   * `source` = row of `remotes`, verdict 0. @returns slots filled, 0 when empty, −errno.
   */
  udpReceive(fd: number, batch: BatchHandle): number;
  /**
   * Sends slots [0, count) with verdict SEND and flags bit 0 clear (those are TCP's) to row `peer[i]` of `remotes` (a shared table, see setRemotes). Runs of
   * equal length to one remote leave by UDP GSO, the rest by sendmmsg; a GSO run refused with EMSGSIZE or EINVAL is sent singly.
   * @returns datagrams sent; those the socket would not take are counted in `stats`.
   */
  udpSend(fd: number, batch: BatchHandle, count: number): number;
  /** One datagram to one address (64 bytes), for control packets. @returns bytes sent, or a negative number where the socket did not take it. */
  udpSendTo(fd: number, bytes: Uint8Array, remote: Uint8Array): number;

  // ---- TUN -----------------------------------------------------------------------------------
  /** Creates (with the capability) or attaches to a TUN queue: IFF_TUN | IFF_NO_PI | IFF_VNET_HDR, plus IFF_MULTI_QUEUE. Turns TSO and USO offload on as far as granted. */
  tunOpen(options: { name: string; multiQueue: boolean }): { fd: number; tso: boolean; uso: boolean };
  /** Re-enables offloads on an inherited descriptor. */
  tunOffload(fd: number): { tso: boolean; uso: boolean };
  /** Up to the batch's capacity of reads, packed one behind the other; each slot is one packet or super-packet with segmentBytes, headerBytes, checksum fields. @returns slots, 0 when empty, −errno. */
  tunRead(fd: number, batch: BatchHandle): number;
  /**
   * Writes slots [0, count) with verdict SEND. Consecutive TCP segments of one flow, in sequence, with a correct checksum
   * leave as one super-packet (verified first: offload would hide a bad one), and so do UDP datagrams of equal length if
   * `uso` is 1: the device takes those. @returns inner packets written.
   */
  tunWrite(fd: number, batch: BatchHandle, count: number, uso: 0 | 1): number;

  // ---- AEAD ----------------------------------------------------------------------------------
  /** Copies the bytes into native memory; the caller wipes its own. @returns a handle ≥ 0, or −1 when the table is full. */
  keyInstall(key: {
    cipher: string;
    epochFormat: boolean;
    encryptKey: Uint8Array;
    encryptIv: Uint8Array;
    decryptKey: Uint8Array;
    decryptIv: Uint8Array;
  }): number;
  /** Wipes and frees. The caller makes sure that no thread still uses the handle. */
  keyFree(handle: number): void;
  /**
   * Writes [packets sealed, blocks sealed, packets opened, blocks opened, failed tags, send epoch, receive epoch, last packet id sent]
   * into out (8 numbers). With epoch keys the first four count the current epoch only: there the addon itself moves to the next
   * epoch at 7/8 of the AEAD limit, and only the epoch number calls for a renewal.
   */
  keyUsage(handle: number, out: Float64Array): void;
  /** Moves the sending side forward, never back: the next packet gets an id above `packetId`, in at least `epoch` (0: as it is). */
  keyForwardForTest(handle: number, packetId: number, epoch: number): void;
  /**
   * Opens in place every slot of [0, count) with key ≥ 0 (others are left alone). Slot on entry: a whole DATA_V1 or DATA_V2 packet
   * (first byte decides). On success: verdict OPENED, offset/length = plaintext, packetId (u32 or 48-bit counter as double), epoch.
   * On failure: verdict BAD_TAG, TOO_SHORT, BAD_PACKET_ID (0) or BAD_EPOCH. @returns slots opened.
   */
  open(batch: BatchHandle, count: number): number;
  /**
   * Seals slots of `input` [from, count) with verdict SEND into `output`: a super-packet becomes its segments (headers and checksums mended),
   * each one whole wire packet with its own packet id from the key's counter, slots of one input contiguous, `peer`, `key` and `flags` copied, `source` = index of the input;
   * `header[i]` (opcode|keyId, peer id) as u32; `flags[i]` bit 0: 2-byte length before each packet (TCP), bit 1: 0xfa before the plaintext
   * inside the encryption. Fills the output from slot 0 and stops before an input whose segments would not fit behind the others.
   * What was sealed is used up: headers and checksums are made in the input's bytes. An input that cannot be sealed keeps the reason as its verdict (KeyExhausted, Unsealable) and is consumed.
   * output verdict = SEND. @returns next input index not consumed; output count in output.count[0].
   */
  seal(input: BatchHandle, from: number, count: number, output: BatchHandle): number;

  // ---- TCP -----------------------------------------------------------------------------------
  tcpListen(options: { address: string; port: number }): { fd: number; port: number };
  /** @returns the connection's descriptor, or −errno. Writes its remote (64 bytes). */
  tcpAccept(listener: number, remote: Uint8Array): number;
  /** @returns bytes read, 0 at end of stream, −errno. */
  tcpReceive(fd: number, into: Uint8Array, offset: number, length: number): number;
  tcpSend(fd: number, from: Uint8Array, offset: number, length: number): number;

  // ---- netlink -------------------------------------------------------------------------------
  /**
   * A socket that hears what the kernel tells these multicast groups about the network namespace of the calling thread.
   * tcpReceive takes one message from it; what could not be kept is ENOBUFS. @throws Error with a `code`: no such protocol,
   * or no right to
   */
  netlinkOpen(protocol: number, groups: Int32Array): number;

  // ---- waiting -------------------------------------------------------------------------------
  pollCreate(): number;
  /** Level-triggered; `tag` comes back from pollWait. `write` also waits for room. */
  pollAdd(poll: number, fd: number, tag: number, write: boolean): void;
  pollModify(poll: number, fd: number, tag: number, write: boolean): void;
  pollRemove(poll: number, fd: number): void;
  /**
   * Blocks the calling thread. Fills `tags` and `events` (1 = readable, 2 = writable, 4 = hang-up).
   * @returns count or −errno.
   */
  pollWait(poll: number, timeoutMs: number, tags: Int32Array, events: Uint8Array): number;
  /** Blocks the calling thread whatever arrives; a millisecond is the most. */
  pause(microseconds: number): void;
  eventCreate(): number;
  eventSignal(fd: number): void;
  eventClear(fd: number): void;
  close(fd: number): void;
  /** Calls back on the event loop of the calling thread while `fd` is readable or has an error. @returns a function that stops it. */
  watchReadable(fd: number, callback: () => void): () => void;

  // ---- processes -----------------------------------------------------------------------------
  /**
   * What the calling thread starts from now on is in a new process namespace, which the kernel ends with the first process
   * in it; then, in ours again. Until then the thread can start no threads. `own` is a descriptor of `/proc/self/ns/pid`.
   * @returns 0 or −errno.
   */
  pidNamespace(own: number, isNew: boolean): number;
  /** From now on nobody but root can read this process's memory or trace it, and it leaves no core dump. */
  hideMemory(): void;

  // ---- TLS, server side, in memory ------------------------------------------------------------
  /**
   * TLS 1.2 and 1.3, AEAD ciphers, no resumption, no renegotiation. PEM: the certificate
   * and its intermediates, its key, and the authorities for client certificates; with none of those no certificate is
   * asked for. A certificate that does not verify is told by tlsPeer and not refused. @throws Error that says what OpenSSL
   * did not take.
   */
  tlsContext(certificates: Uint8Array, key: Uint8Array, authorities: Uint8Array): number;
  /** Connections that were opened with it keep it. */
  tlsContextFree(context: number): void;
  tlsOpen(context: number): number;
  /** Frees it; says nothing to the client. The handle may name another connection afterwards. */
  tlsClose(tls: number): void;
  /** Takes bytes of the client; tlsRead then works on them. */
  tlsReceive(tls: number, bytes: Uint8Array): void;
  /** Goes on with the handshake, then reads up to one record into `out`. @returns bytes > 0 or a TlsState. Until `More`, there may be more. */
  tlsRead(tls: number, out: Uint8Array): number;
  /** One record, 1 to 16,384 bytes, after the handshake. @returns bytes or TlsState.Failed. */
  tlsWrite(tls: number, bytes: Uint8Array): number;
  /** Takes bytes for the client, alerts among them. @returns bytes, 0 when there are none left. */
  tlsTake(tls: number, out: Uint8Array): number;
  /**
   * After the handshake: [version, what the client's certificate was refused for (a name as in OpenSSL's documentation
   * without `X509_V_ERR_`) or '', whether a session was resumed, and as DER the leaf and every certificate it was verified by, up to ten].
   */
  tlsPeer(tls: number): [version: string, verdict: string, resumed: boolean, ...chain: Uint8Array[]];
  /** Fills `out` with keying material, exported without a context: label 0 data keys, 1 dynamic tls-crypt. */
  tlsExport(tls: number, label: 0 | 1, out: Uint8Array): void;
  /** OpenSSL's words for why it failed. */
  tlsReason(tls: number): string;

  // ---- facts ---------------------------------------------------------------------------------
  /** Calls and units since load, for tests and metrics: receiveCalls, receivedDatagrams, sendCalls, sentDatagrams, sendErrors, tunReads, tunWrites, openCalls, sealCalls… of the calling thread. */
  counters(): Record<string, number>;
  /** The same numbers in the order of counterNames(), without allocating. */
  countersInto(out: Float64Array): void;
  counterNames(): readonly string[];
  /** CLOCK_MONOTONIC in ms, equal on all threads. */
  monotonicMs(): number;

  // ---- addresses (SOCKET_ADDRESS_BYTES; bytes 0..23 name the remote, the rest is our side of the path) ---------------
  /** @returns family 4 or 6 (0 for an empty row), the address as text, the port. */
  formatAddress(row: Uint8Array): { family: number; address: string; port: number };
  /** A row without a local side. @throws InternalError if `address` is no IP address or `port` no port. */
  parseAddress(address: string, port: number): Uint8Array;
}

export const TlsState = { More: 0, HandshakeDone: -1, Closed: -2, Failed: -3 } as const;

export type BatchHandle = number;

/**
 * All arrays have the batch's capacity in slots, `bytes`, `remotes` and `count` apart; only `bytes` and `remotes` may be empty.
 * Each distinct ArrayBuffer costs a look with every call (it may have been transferred away): let arrays share one.
 */
export interface BatchArrays {
  readonly bytes: Uint8Array;
  readonly offset: Uint32Array;
  readonly length: Uint32Array;
  readonly verdict: Uint8Array;
  /** Native key handle, −1 for none. */
  readonly key: Int32Array;
  /** Row of `remotes` to send to, or application data. */
  readonly peer: Int32Array;
  /** Row of `remotes` a datagram came from. */
  readonly source: Int32Array;
  readonly packetId: Float64Array;
  readonly epoch: Uint16Array;
  /** Wire header of DATA_V2 (opcode|key id in the top byte, then the peer id); for V1 only the top byte counts. */
  readonly header: Uint32Array;
  /** bit 0: TCP length prefix; bit 1: 0xfa framing byte. */
  readonly flags: Uint8Array;
  /** Super-packets: payload bytes per segment, 0 for a single packet. */
  readonly segmentBytes: Uint16Array;
  readonly headerBytes: Uint16Array;
  /** virtio-net gso_type (0 none, 1 TCPv4, 5 UDP L4) | 0x80 if the checksum is still to be made. */
  readonly offload: Uint8Array;
  readonly checksumStart: Uint16Array;
  readonly checksumOffset: Uint16Array;
  /** Rows of SOCKET_ADDRESS_BYTES: written by udpReceive, read by udpSend. May be shared between batches. */
  readonly remotes: Uint8Array;
  /**
   * Bytes of `bytes` that udpReceive gives each message: RECEIVE_REGION_BYTES.gro (the default; needed where GRO is on)
   * or .single. With GRO one call takes at most capacity / GRO_SEGMENTS_MAX messages, so that no segment is lost for
   * want of a slot: give that batch 4,096 slots or more and 32 to 64 regions.
   */
  readonly regionBytes?: number;
  /** count[0]: slots in use, written by seal. */
  readonly count: Uint32Array;
}

/** Verdict numbers that the addon reads or writes; others are the forwarder's own and are left alone. */
export const SlotVerdict = {
  Pending: 0,
  Opened: 1,
  Send: 2,
  BadTag: 3,
  TooShort: 4,
  BadPacketId: 5,
  BadEpoch: 6,
  /** Left on an input by seal: the key has no packet ids, or no AEAD allowance, left. */
  KeyExhausted: 7,
  /** Left on an input by seal: offload fields that fit no IPv4 TCP or UDP packet, or larger than the whole output. */
  Unsealable: 8,
} as const;

/** 64 KiB and a bit, so that messages do not start in the same cache sets. */
export const RECEIVE_REGION_BYTES = { gro: 65_536 + 512, single: 2_048 + 64 } as const;
/** The most segments the kernel glues into one message. */
export const GRO_SEGMENTS_MAX = 128;
/** tunRead packs packets behind each other and stops when less than this is left of `bytes`. */
export const TUN_READ_BYTES = 65_536;
