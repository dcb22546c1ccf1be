import type { DataPlaneConfig } from '../../api/data-plane-config.ts';
import { TerminalError } from '../../net/errors.ts';
import type { DataPlaneMemory } from '../process-messages.ts';
import { GroupInterner } from '../policy/policy-tables.ts';
import { WrapPacketIds } from '../protocol/wrap-packet-id.ts';
import { AddressPool } from './address-pool.ts';
import { AdmissionControl } from './admission.ts';
import { ConnectionHistory } from './connection-history.ts';
import { DeadlineHeap } from './deadline-heap.ts';
import type { DataChannelCommand, EngineEvent, Instant, Output, Remote } from './engine-io.ts';
import { DEFAULT_LIMITS, type EngineLimits, type EngineOptions } from './engine-options.ts';
import { remoteText, type Peer } from './peer.ts';
import { PeerIds } from './peer-ids.ts';
import { PeerTable } from './peer-table.ts';
import type { EngineDrop, StartRefusal } from './reasons.ts';
import { policyOf, servedFrom, type Served } from './served.ts';
import { TcpOpenings, type TcpOpening } from './tcp-openings.ts';
import { WaitingRoom } from './waiting-room.ts';

/** Everything the engine knows, for the files that hold its rules. One input is handled at a time, at `now`. */
export class EngineState {
  readonly options: EngineOptions;
  readonly limits: EngineLimits;
  readonly peers = new PeerTable();
  readonly deadlines = new DeadlineHeap<Peer | TcpOpening | WaitingRoom>();
  readonly tcp: TcpOpenings;
  readonly waiting: WaitingRoom;
  readonly peerIds: PeerIds;
  readonly interner = new GroupInterner();
  readonly history: ConnectionHistory;
  readonly admission: AdmissionControl;
  /** Dropped packets by reason. */
  readonly drops = new Map<EngineDrop, number>();
  readonly pool: AddressPool;
  served: Served;
  now: Instant = 0 as Instant;
  /** Plaintext of unfinished key-method messages, bytes over all peers. */
  handshakeBytes = 0;
  /**
   * While memory is short, sessions there may be with those that begin; those that are there go on, and renew. What one
   * that ended gives back stays with the process and serves the next, but for some that no longer fits.
   */
  sessionsMax = Infinity;
  phase: 'serving' | 'draining' | 'drained' = 'serving';
  #outputs: Output[] = [];
  readonly #touched = new Set<Peer>();
  #policyEpoch = 0;
  #lastTls = 0;
  #lastRequest = 0;
  #lastGeneration = 0;
  #restored = false;

  /** @throws TerminalError when the configuration can't be served. */
  constructor(options: EngineOptions) {
    this.options = options;
    this.limits = { ...DEFAULT_LIMITS, ...options.limits };
    this.served = servedFrom(options.config);
    this.pool = new AddressPool(this.served.clientCidr);
    this.tcp = new TcpOpenings(this.limits.halfOpenTcpPerAddress);
    this.waiting = new WaitingRoom(this.limits.waitingStarts);
    this.peerIds = new PeerIds(options.threads, options.slots);
    this.history = new ConnectionHistory(this.limits);
    this.admission = new AdmissionControl({
      limits: this.limits,
      random: options.random,
      wallClock: options.wallClock,
      handshakes: () => (this.peers.unconnectedCount < this.#unlimitedStarts ? 'few' : 'many'),
    });
  }

  /** Handshakes that may be under way at a time. */
  get halfOpenLimit(): number {
    return Math.max(MIN_HALF_OPEN, Math.floor(this.served.snapshot.maxConnections * this.limits.halfOpenShare));
  }

  /** Handshakes under way below which the rate of new ones is no matter. */
  get #unlimitedStarts(): number {
    return Math.min(this.halfOpenLimit * this.limits.startsUnlimitedShare, this.limits.startsUnlimitedMost);
  }

  /** Begins the handling of one input. */
  begin(now: Instant): void {
    this.now = now;
    if (this.#restored) return;
    this.#restored = true;
    this.pool.restore(this.options.memory.leases, now, this.wallOffset());
    this.publishPolicy();
  }

  /** The peer's deadlines may have changed. */
  touch(peer: Peer): void {
    this.#touched.add(peer);
  }

  /** Ends the handling of one input. */
  takeOutputs(): readonly Output[] {
    for (const peer of this.#touched) if (peer.phase !== 'closed') this.deadlines.set(peer, peer.nextDeadline());
    this.#touched.clear();
    const outputs = this.#outputs;
    this.#outputs = [];
    return outputs;
  }

  emit(output: Output): void {
    this.#outputs.push(output);
  }

  command(command: DataChannelCommand): void {
    this.emit({ kind: 'dataChannel', command });
  }

  event(event: EngineEvent): void {
    this.emit({ kind: 'event', event });
  }

  refused(remote: Remote, reason: StartRefusal): void {
    this.event({ kind: 'refused', remote: remoteText(remote), reason, count: 1 });
  }

  countDrop(reason: EngineDrop): void {
    this.drops.set(reason, (this.drops.get(reason) ?? 0) + 1);
  }

  /** Replaces the configuration and publishes its policy. @throws TerminalError, and then nothing has changed. */
  serve(config: DataPlaneConfig): { readonly before: Served; readonly after: Served } {
    const before = this.served;
    const next = servedFrom(config);
    requireSameShape(before, next);
    this.served = next;
    this.publishPolicy();
    return { before, after: this.served };
  }

  publishPolicy(): void {
    this.#policyEpoch += 1;
    this.command({ verb: 'setPolicy', policy: policyOf(this.served, this.interner, this.#policyEpoch) });
  }

  nextTls(): number {
    this.#lastTls += 1;
    return this.#lastTls;
  }

  nextRequest(): number {
    this.#lastRequest += 1;
    return this.#lastRequest;
  }

  nextGeneration(): number {
    this.#lastGeneration += 1;
    return this.#lastGeneration;
  }

  newConnectionId(): string {
    const hex = Array.from(this.options.random(9), (byte) => byte.toString(16).padStart(2, '0')).join('');
    return `cvpn-connection-${hex.slice(0, 17)}`;
  }

  /** A fraction in [0, 1) for jitter. */
  fraction(): number {
    const [high, low] = this.options.random(2);
    return (high * 256 + low) / 65_536;
  }

  unixS(): number {
    return Math.floor(this.options.wallClock() / 1000);
  }

  /** What must survive a restart. Until the first input that is what the last process left. */
  leases(): DataPlaneMemory['leases'] {
    return this.#restored ? this.pool.export(this.wallOffset()) : this.options.memory.leases;
  }

  /** Wall clock minus monotonic clock. */
  wallOffset(): number {
    return this.options.wallClock() - this.now;
  }

  newWrapPacketIds(): WrapPacketIds {
    return new WrapPacketIds(this.unixS());
  }
}

/** What clients have agreed on with us can't change under them. */
function requireSameShape(before: Served, next: Served): void {
  for (const field of ['clientCIDR', 'transport', 'controlWrap'] as const) {
    if (before.snapshot[field] !== next.snapshot[field])
      throw new TerminalError(`${field} can't change while the endpoint is served`);
  }
}

const MIN_HALF_OPEN = 16;
