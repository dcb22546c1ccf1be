import { execFileSync } from 'node:child_process';
import type { DataChannelNotification, PeerRecord } from '../../dataplane/data-channel.ts';
import { loadAddon } from '../../dataplane/io/load-addon.ts';
import type { NativeAddon } from '../../dataplane/io/native-addon.ts';
import { TunnelHost } from '../../dataplane/io/tunnel-host.ts';
import { compilePolicy, GroupInterner, type PolicySource } from '../../dataplane/policy/policy-tables.ts';
import { PacketBatch } from '../../dataplane/tunnel/packet-batch.ts';
import { LabError } from './netns.ts';
import { address, prefix } from './prefixes.ts';
import { randomBytesFrom, randomFrom } from './seed.ts';
import { waitFor } from './wait.ts';

export const CLIENT_CIDR = prefix('10.8.0.0/22');
export const GATEWAY = '10.8.0.1';
/** An address of the machine behind the gateway that answers pings. */
export const TARGET = '10.60.0.2';

/** The least policy under which TARGET and other clients can be reached. */
export function openPolicy(): PolicySource {
  return {
    clientCidr: CLIENT_CIDR,
    gatewayAddress: address(GATEWAY),
    routes: [
      { prefix: prefix('10.60.0.0/16'), via: 'TargetNetwork' },
      { prefix: CLIENT_CIDR, via: 'Local' },
    ],
    rules: [
      { prefix: prefix('10.60.0.0/16'), allUsers: true, group: null },
      { prefix: CLIENT_CIDR, allUsers: true, group: null },
    ],
  };
}

export interface TunnelLabOptions {
  readonly threads: number;
  readonly transport: 'udp' | 'tcp';
}

/** A tunnel host on loopback with a real TUN device; to be used in a private network. */
export class TunnelLab implements AsyncDisposable {
  readonly addon: NativeAddon;
  readonly host: TunnelHost;
  readonly port: number;
  readonly notifications: DataChannelNotification[] = [];
  /** The control thread's socket of the group. */
  readonly control: number;
  readonly groups = new GroupInterner();
  readonly #descriptors: readonly number[];
  #epoch = 0;
  #source = openPolicy();

  static async start(options: TunnelLabOptions): Promise<TunnelLab> {
    const addon = loadAddon();
    const tun: number[] = [];
    for (let i = 0; i < options.threads; i++) tun.push(addon.tunOpen({ name: TUN, multiQueue: true }).fd);
    ip(`addr add ${GATEWAY}/22 dev ${TUN}`, `link set ${TUN} mtu 1500 up`, `addr add ${TARGET}/32 dev lo`);
    const sockets: number[] = [];
    let port = 0;
    const isUdp = options.transport === 'udp';
    for (let i = 0; i < options.threads + (isUdp ? 1 : 0); i++) {
      const opened = isUdp
        ? addon.udpOpen({
            address: '127.0.0.1',
            port,
            gro: true,
            receiveBufferBytes: 1 << 22,
            sendBufferBytes: 1 << 22,
          })
        : addon.tcpListen({ address: '127.0.0.1', port });
      port = opened.port;
      sockets.push(opened.fd);
    }
    if (isUdp) addon.udpSteer(sockets[0], options.threads);
    const host = await TunnelHost.start({
      addon,
      transport: options.transport,
      udpDescriptors: isUdp ? sockets.slice(0, options.threads) : [],
      tcpDescriptors: isUdp ? [] : sockets,
      tunDescriptors: tun,
      tunMtu: 1500,
      gatewayAddress: address(GATEWAY),
      clientCidr: CLIENT_CIDR,
      maxPeers: 256,
    });
    return new TunnelLab(addon, host, port, sockets[options.threads] ?? -1, [...tun, ...sockets]);
  }

  private constructor(addon: NativeAddon, host: TunnelHost, port: number, control: number, descriptors: number[]) {
    this.addon = addon;
    this.host = host;
    this.port = port;
    this.control = control;
    this.#descriptors = descriptors;
    host.onNotification((notification) => this.notifications.push(notification));
  }

  /** Resolves when every thread has applied the verbs so far. */
  async settle(): Promise<void> {
    await this.setPolicy(this.#source);
  }

  async setPolicy(source: PolicySource): Promise<void> {
    this.#source = source;
    const epoch = ++this.#epoch;
    this.host.setPolicy(compilePolicy(source, this.groups, epoch));
    await this.host.policyEnforced(epoch);
  }

  notified<K extends DataChannelNotification['kind']>(kind: K): Promise<Extract<DataChannelNotification, { kind: K }>> {
    const isWanted = (n: DataChannelNotification): n is Extract<DataChannelNotification, { kind: K }> =>
      n.kind === kind;
    return waitFor(kind, () => this.notifications.find(isWanted));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.host.stop();
    for (const fd of this.#descriptors) this.addon.close(fd);
    ip(`addr del ${TARGET}/32 dev lo`);
  }
}

export interface LabPeerOptions {
  readonly peerId: number;
  readonly tunnelAddress: string;
  readonly record?: Partial<PeerRecord>;
  readonly cipher?: 'AES-256-GCM' | 'CHACHA20-POLY1305';
  readonly keyId?: number;
}

/** What one client knows: its keys, seen from its side. Seals and opens with the addon, one packet at a time. */
export class LabClient {
  readonly peerId: number;
  readonly tunnelAddress: string;
  readonly received: Uint8Array[] = [];
  readonly addon: NativeAddon;
  readonly #lab: TunnelLab;
  readonly #plain: PacketBatch;
  readonly #wire: PacketBatch;
  readonly #flags: number;
  #keys = new Map<number, number>();
  #sendKey = 0;

  constructor(lab: TunnelLab, options: LabPeerOptions) {
    this.#lab = lab;
    this.addon = lab.addon;
    this.peerId = options.peerId;
    this.tunnelAddress = options.tunnelAddress;
    this.#flags = options.record?.framing === 'comp-lzo' ? 2 : 0;
    this.#plain = new PacketBatch(lab.addon, { slots: 64, bytes: 1 << 20 });
    this.#wire = new PacketBatch(lab.addon, { slots: 256, bytes: 1 << 20 });
  }

  /** Makes a key pair, tells the gateway, and keeps the mirrored half. */
  newKey(
    keyId: number,
    slot: 'primary' | 'secondary',
    cipher: 'AES-256-GCM' | 'CHACHA20-POLY1305' = 'AES-256-GCM',
  ): void {
    const random = randomFrom(this.peerId * 8 + keyId + 1);
    const [up, down] = [randomBytesFrom(random, 32), randomBytesFrom(random, 32)];
    const [upIv, downIv] = [randomBytesFrom(random, 8), randomBytesFrom(random, 8)];
    const own = { cipher, epochFormat: false, encryptKey: up, encryptIv: upIv, decryptKey: down, decryptIv: downIv };
    this.#keys.set(keyId, this.addon.keyInstall(own));
    this.#lab.host.newKey(this.peerId, slot, {
      keyId,
      cipher,
      epochFormat: false,
      encryptKey: down,
      encryptIv: downIv,
      decryptKey: up,
      decryptIv: upIv,
    });
    if (slot === 'primary') this.#sendKey = keyId;
  }

  useKey(keyId: number): void {
    this.#sendKey = keyId;
  }

  /** The wire packets of these inner packets. */
  seal(packets: readonly Uint8Array[], opcode = 9, peerId = this.peerId): Uint8Array[] {
    const { bytes, offset, length, verdict, key, header, flags } = this.#plain;
    const handle = this.#keys.get(this.#sendKey);
    if (handle === undefined) throw new LabError('The client has no such key');
    const sealed: Uint8Array[] = [];
    for (let at = 0; at < packets.length; at += 64) {
      const part = packets.slice(at, at + 64);
      part.forEach((packet, slot) => {
        bytes.set(packet, slot * 16_384);
        this.#plain.setPlain(slot, slot * 16_384, packet.length);
        offset[slot] = slot * 16_384;
        length[slot] = packet.length;
        verdict[slot] = 2;
        key[slot] = handle;
        header[slot] = ((((opcode << 3) | this.#sendKey) << 24) | peerId) >>> 0;
        flags[slot] = this.#flags;
      });
      this.addon.seal(this.#plain.handle, 0, part.length, this.#wire.handle);
      const count = this.#wire.count[0];
      for (let slot = 0; slot < count; slot++) {
        const start = this.#wire.offset[slot];
        sealed.push(this.#wire.bytes.slice(start, start + this.#wire.length[slot]));
      }
    }
    return sealed;
  }

  /** Opens one wire packet. @returns undefined when it does not open. */
  open(packet: Uint8Array): Uint8Array | undefined {
    const handle = this.#keys.get(packet[0] & 7);
    if (handle === undefined) return undefined;
    const { bytes, offset, length, key, verdict } = this.#wire;
    bytes.set(packet, 0);
    offset[0] = 0;
    length[0] = packet.length;
    key[0] = handle;
    verdict[0] = 0;
    this.addon.open(this.#wire.handle, 1);
    if (verdict[0] !== 1) return undefined;
    const skip = this.#flags === 2 ? 1 : 0;
    return bytes.slice(offset[0] + skip, offset[0] + length[0]);
  }
}

/** A client on UDP, with a socket of its own. */
export class UdpLabClient extends LabClient {
  #fd: number;
  readonly #server: Uint8Array;
  readonly #batch: PacketBatch;
  localPort: number;

  constructor(lab: TunnelLab, options: LabPeerOptions) {
    super(lab, options);
    const opened = openClientSocket(lab.addon);
    this.#fd = opened.fd;
    this.localPort = opened.port;
    this.#server = lab.addon.parseAddress('127.0.0.1', lab.port);
    this.#batch = new PacketBatch(lab.addon, { slots: 512, bytes: 512 * 2112, regionBytes: 2112 });
    const transport = { kind: 'udp', remote: this.remote() } as const;
    lab.host.newPeer(peerRecord(options, transport));
    this.newKey(options.keyId ?? 0, 'primary', options.cipher);
  }

  remote(): Uint8Array {
    return this.addon.parseAddress('127.0.0.1', this.localPort);
  }

  /** Goes on from another port, as behind a changed NAT. */
  move(): void {
    this.addon.close(this.#fd);
    const opened = openClientSocket(this.addon);
    this.#fd = opened.fd;
    this.localPort = opened.port;
  }

  send(...packets: readonly Uint8Array[]): void {
    this.sendWire(...this.seal(packets));
  }

  sendWire(...packets: readonly Uint8Array[]): void {
    for (const packet of packets) this.addon.udpSendTo(this.#fd, packet, this.#server);
  }

  /** Takes what has arrived; inner packets are added to `received`. */
  drain(): void {
    for (;;) {
      const count = this.addon.udpReceive(this.#fd, this.#batch.handle);
      if (count <= 0) return;
      for (let slot = 0; slot < count; slot++) {
        const at = this.#batch.offset[slot];
        const inner = this.open(this.#batch.bytes.slice(at, at + this.#batch.length[slot]));
        if (inner !== undefined) this.received.push(inner);
      }
    }
  }

  /** The first inner packet, now or within `timeoutMs`, that fits. */
  async receive(fits: (packet: Uint8Array) => boolean, timeoutMs = 5_000): Promise<Uint8Array> {
    return waitFor(
      'an inner packet',
      () => {
        this.drain();
        return this.received.find(fits);
      },
      timeoutMs,
    );
  }

  close(): void {
    this.addon.close(this.#fd);
  }
}

export function peerRecord(options: LabPeerOptions, transport: PeerRecord['transport']): PeerRecord {
  return {
    peerId: options.peerId,
    generation: options.peerId + 1000,
    transport,
    tunnelAddress: address(options.tunnelAddress),
    groups: new Int32Array(0),
    format: 'V2',
    framing: 'none',
    maxSegmentBytes: 1400,
    tunMtu: 1500,
    pingMs: 0,
    pingTimeoutMs: 0,
    ...options.record,
  };
}

function openClientSocket(addon: NativeAddon): { readonly fd: number; readonly port: number } {
  return addon.udpOpen({
    address: '127.0.0.1',
    port: 0,
    gro: false,
    receiveBufferBytes: 1 << 22,
    sendBufferBytes: 1 << 22,
  });
}

function ip(...commands: readonly string[]): void {
  for (const command of commands) execFileSync('ip', command.split(' '));
}

const TUN = 'cvt-tun';
