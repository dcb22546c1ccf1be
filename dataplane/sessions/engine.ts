import type { Connection } from '../../api/connection.ts';
import { haltMessage, restartMessage } from '../protocol/control-message.ts';
import type { PeerTraffic } from '../data-channel.ts';
import type { DataPlaneMemory } from '../process-messages.ts';
import { isSameSessionId, type SessionStart } from './admission.ts';
import { applySnapshot } from './apply-snapshot.ts';
import { connectionFrom } from './connection-history.ts';
import { closePeer, endPeer, placeOf } from './ending.ts';
import type { Input, Instant, Output, Remote } from './engine-io.ts';
import type { EngineOptions } from './engine-options.ts';
import { EngineState } from './engine-state.ts';
import { onFloated } from './floating.ts';
import { onVerdict } from './login.ts';
import { onLoginDeadline, onPending } from './login-dialogue.ts';
import { factsOf, remoteText, type Peer } from './peer.ts';
import { startPeer } from './peer-session.ts';
import { restartPeer } from './pushing.ts';
import { FAREWELL_TEXTS, type EngineDrop, type StartRefusal } from './reasons.ts';
import { onKeySwitched, onRetiringDeadline, startRenewal } from './renewal.ts';
import type { TcpOpening } from './tcp-openings.ts';
import { WaitingRoom } from './waiting-room.ts';

/**
 * All clients of one endpoint on one target network, as a function of what happens: each input returns everything that
 * must be done because of it, in order. It has no clock, no socket and no randomness of its own.
 */
export class Engine {
  readonly #state: EngineState;

  /** @throws TerminalError when the configuration can't be served; the message is for a person. */
  constructor(options: EngineOptions) {
    this.#state = new EngineState(options);
  }

  /**
   * @param now of one monotonic clock, never decreasing
   * @throws TerminalError for `configChanged` with a configuration that can't be served; the last one stays in force.
   */
  handle(input: Input, now: Instant): readonly Output[] {
    const state = this.#state;
    state.begin(now);
    this.#dispatch(input);
    if (state.waiting.size > 0) this.#letIn();
    if (state.phase === 'draining' && state.peers.size === 0) {
      state.phase = 'drained';
      state.event({ kind: 'drained' });
    }
    return state.takeOutputs();
  }

  /** When `deadline` is to be handed in next. */
  nextDeadline(): Instant | undefined {
    return this.#state.deadlines.earliest() as Instant | undefined;
  }

  /** Live connections, then those that ended or failed within the last hour. */
  connections(now: Instant, traffic: (peerId: number) => PeerTraffic | undefined): readonly Connection[] {
    const state = this.#state;
    const active: Connection[] = [];
    for (const peer of state.peers.connected()) {
      if (peer.tunnel === undefined) continue;
      const { peerId, establishedMs } = peer.tunnel;
      const outcome = { status: 'active', establishedMs, endedMs: null, endReason: null } as const;
      active.push(connectionFrom(placeOf(state), factsOf(peer), outcome, traffic(peerId)));
    }
    return [...active, ...state.history.list(now)];
  }

  /** What must survive a restart. */
  leases(): DataPlaneMemory['leases'] {
    return this.#state.leases();
  }

  /** Another number after each change of `leases`. */
  leaseRevision(): number {
    return this.#state.pool.revision;
  }

  /** Whether `shutdown` has run its course. */
  drained(): boolean {
    return this.#state.phase === 'drained';
  }

  /** Gauges and counters for metrics. */
  stats(): EngineStats {
    const { peers, pool, history, drops, handshakeBytes, tcp, waiting } = this.#state;
    return {
      connected: peers.connectedCount,
      opening: Math.max(peers.openingCount, tcp.size),
      waiting: waiting.size,
      addressesUsed: pool.used,
      addressesTotal: pool.capacity,
      endedRemembered: history.sizes.ended,
      failedRemembered: history.sizes.failed,
      handshakeBytes,
      drops,
    };
  }

  #dispatch(input: Input): void {
    const state = this.#state;
    switch (input.kind) {
      case 'datagram':
        this.#onDatagram(input.remote, input.bytes);
        return;
      case 'transportOpened':
        this.#onTransportOpened(input.remote);
        return;
      case 'transportClosed':
        this.#forgetTcpOpening(input.remote.key);
        for (const peer of state.peers.at(input.remote.key)) closePeer(state, peer, 'transport-closed');
        return;
      case 'tlsOutput':
        this.#ofTls(input.tls, (peer) => peer.session.onTlsOutput(input.tls, input.bytes, state.now));
        return;
      case 'tlsPlaintext':
        this.#ofTls(input.tls, (peer) => peer.session.onTlsPlaintext(input.tls, input.bytes, state.now));
        return;
      case 'tlsReady':
        this.#ofTls(input.tls, (peer) => this.#onTlsReady(peer, input));
        return;
      case 'tlsFailed':
        this.#ofTls(input.tls, (peer) => peer.session.onTlsFailed(input.tls, input.reason));
        return;
      case 'authenticated':
        this.#ofRequest(input.requestId, () => onVerdict(state, input.requestId, input.verdict));
        return;
      case 'authenticationPending':
        this.#ofRequest(input.requestId, (peer) => onPending(state, peer, input.timeoutMs, input.prompt));
        return;
      case 'configChanged':
        applySnapshot(state, input.config);
        return;
      case 'dataChannel':
        this.#onNotification(input.notification);
        return;
      case 'memory':
        state.sessionsMax = input.isShort ? Math.floor(state.peers.size * SHARE_WHEN_SHORT) : Infinity;
        return;
      case 'terminate':
        this.#terminate(input.connectionId);
        return;
      case 'shutdown':
        this.#shutDown(input.limitMs);
        return;
      case 'deadline':
        this.#onDeadlines();
    }
  }

  #onDatagram(remote: Remote, bytes: Uint8Array): void {
    const state = this.#state;
    const known = state.peers.at(remote.key);
    const sender = bytes.subarray(1, 9);
    const peer = known.find(({ session }) => isSameSessionId(session.peerSessionId, sender));
    if (peer === undefined) this.#onStranger(remote, bytes);
    else this.#deliver(peer, bytes);
  }

  #deliver(peer: Peer, bytes: Uint8Array): void {
    const state = this.#state;
    state.touch(peer);
    const reason = peer.session.receive(bytes, state.now);
    if (reason !== undefined) {
      state.countDrop(reason);
      // A stream has no strangers: whoever sends this is broken or hostile.
      if (peer.remote.kind === 'tcp' && !HARMLESS_DROPS.has(reason)) closePeer(state, peer, reason);
    }
    const isDone = state.phase === 'draining' && peer.phase === 'lingering' && peer.session.isQuiet;
    if (isDone) closePeer(state, peer, 'lingered');
  }

  #onStranger(remote: Remote, bytes: Uint8Array): void {
    const state = this.#state;
    if (state.phase !== 'serving') return;
    if (state.waiting.size > 0 && state.waiting.hear(remote, bytes)) return;
    const { wraps } = state.served;
    if (remote.kind === 'tcp' && (state.tcp.get(remote.key) === undefined || state.peers.at(remote.key).length > 0)) {
      state.countDrop('foreign-session');
      return;
    }
    const admission =
      remote.kind === 'tcp'
        ? state.admission.considerTcp(remote, bytes, wraps, state.now)
        : state.admission.considerUdp(remote, bytes, wraps, state.now);
    switch (admission.kind) {
      case 'drop':
        state.countDrop(admission.reason);
        if (remote.kind === 'tcp') this.#closeTcpOpening(remote.key);
        return;
      case 'refuse':
        this.#refuse(remote, admission.reason);
        return;
      case 'answer':
        state.emit({ kind: 'transmit', remote, bytes: admission.packet });
        return;
      case 'start':
        this.#onStart(remote, admission.start, bytes);
    }
  }

  #onStart(remote: Remote, start: SessionStart, bytes: Uint8Array): void {
    const state = this.#state;
    if (state.peers.size + state.waiting.size >= state.sessionsMax) {
      this.#refuse(remote, 'memory-short');
      return;
    }
    if (state.waiting.size === 0 && state.admission.mayBegin(state.now)) {
      this.#begin(remote, start, [bytes]);
      return;
    }
    if (state.waiting.admit({ remote, start, packets: [bytes.slice()], since: state.now })) return;
    this.#refuse(remote, 'start-limit');
  }

  #letIn(): void {
    const state = this.#state;
    const { waiting, admission, deadlines, limits, now } = state;
    while (waiting.size > 0 && admission.mayBegin(now)) {
      let next = waiting.take();
      for (; next !== undefined && now - next.since >= limits.waitingMs; next = waiting.take())
        this.#refuse(next.remote, 'waited-too-long');
      if (next === undefined) break;
      if (state.peers.size >= state.sessionsMax) this.#refuse(next.remote, 'memory-short');
      else this.#begin(next.remote, next.start, next.packets);
    }
    deadlines.set(waiting, waiting.size === 0 ? undefined : now + LET_IN_MS);
  }

  #refuse(remote: Remote, reason: StartRefusal): void {
    this.#state.refused(remote, reason);
    if (remote.kind === 'tcp') this.#closeTcpOpening(remote.key);
  }

  #begin(remote: Remote, start: SessionStart, packets: readonly Uint8Array[]): void {
    const state = this.#state;
    this.#makeRoom();
    const opening = state.tcp.get(remote.key);
    if (opening !== undefined) state.deadlines.delete(opening);
    const peer = startPeer(state, remote, start);
    for (const bytes of packets) if (peer.phase !== 'closed') this.#deliver(peer, bytes);
  }

  /** Half-open handshakes are bounded; the one with the least to show for itself gives way. */
  #makeRoom(): void {
    const state = this.#state;
    while (state.peers.openingCount >= state.halfOpenLimit) {
      const victim = state.peers.openingToEvict();
      if (victim === undefined) return;
      state.refused(victim.remote, 'half-open-limit');
      closePeer(state, victim, 'half-open-limit');
    }
  }

  #onTransportOpened(remote: Remote): void {
    const state = this.#state;
    if (state.peers.size >= state.sessionsMax) {
      state.refused(remote, 'memory-short');
      state.emit({ kind: 'closeTransport', remote });
      return;
    }
    // Nobody gives way to one that is turned away itself.
    if (state.phase !== 'serving' || state.tcp.isShareTaken(remote)) {
      if (state.phase === 'serving') state.refused(remote, 'too-many-from-one-address');
      state.emit({ kind: 'closeTransport', remote });
      return;
    }
    const isAdvanced = ({ key }: Remote): boolean => state.peers.openingAt(key)?.session.current.facts !== undefined;
    const victim = state.tcp.size >= state.halfOpenLimit ? state.tcp.toEvict(isAdvanced) : undefined;
    if (victim !== undefined) {
      state.refused(victim.remote, 'half-open-limit');
      const peer = state.peers.openingAt(victim.remote.key);
      if (peer === undefined) this.#closeTcpOpening(victim.remote.key);
      else closePeer(state, peer, 'half-open-limit');
    }
    state.deadlines.set(state.tcp.begin(remote), state.now + state.options.timers.handWindowMs);
  }

  #closeTcpOpening(key: string): void {
    const opening = this.#forgetTcpOpening(key);
    if (opening !== undefined) this.#state.emit({ kind: 'closeTransport', remote: opening.remote });
  }

  #forgetTcpOpening(key: string): TcpOpening | undefined {
    const { tcp, deadlines, waiting } = this.#state;
    const opening = tcp.finish(key);
    if (opening === undefined) return undefined;
    waiting.forget(opening.remote);
    deadlines.delete(opening);
    return opening;
  }

  #ofTls(tls: number, act: (peer: Peer) => void): void {
    const peer = this.#state.peers.byTls(tls);
    if (peer === undefined) return;
    this.#state.touch(peer);
    act(peer);
  }

  #ofRequest(requestId: number, act: (peer: Peer) => void): void {
    const peer = this.#state.peers.byRequest(requestId);
    if (peer === undefined) return;
    this.#state.touch(peer);
    act(peer);
  }

  #onTlsReady(peer: Peer, input: Extract<Input, { kind: 'tlsReady' }>): void {
    // Resumption would skip the client's certificate.
    if (input.resumed) {
      peer.session.onTlsFailed(input.tls, 'tls-session-resumed');
      return;
    }
    peer.certificates.set(input.tls, input.certificate);
    const { dataKeys, dynamicTlsCrypt } = input;
    peer.session.onTlsReady(input.tls, { dataKeys, dynamicTlsCrypt });
  }

  #onNotification(notification: Extract<Input, { kind: 'dataChannel' }>['notification']): void {
    const state = this.#state;
    const peer = state.peers.byPeerId(notification.peerId, notification.generation);
    if (peer?.tunnel === undefined) return;
    state.touch(peer);
    switch (notification.kind) {
      case 'floated':
        onFloated(state, peer, notification.remote);
        return;
      case 'keepaliveLost':
        closePeer(state, peer, 'keepalive-lost');
        return;
      case 'exitNotified':
        closePeer(state, peer, 'client-exit');
        return;
      case 'keySwitched':
        onKeySwitched(peer, notification.keyId);
        return;
      case 'keyExhausted':
        if (notification.keyId === peer.tunnel.keyId) startRenewal(state, peer);
    }
  }

  #terminate(connectionId: string): void {
    const state = this.#state;
    const peer = state.peers.byConnectionId(connectionId);
    if (peer?.phase === 'connected') endPeer(state, peer, 'terminated', haltMessage('terminated by an administrator'));
  }

  #shutDown(limitMs: number): void {
    const state = this.#state;
    if (state.phase !== 'serving') return;
    state.phase = 'draining';
    state.waiting.clear();
    for (const opening of state.tcp.all())
      if (state.peers.at(opening.remote.key).length === 0) this.#closeTcpOpening(opening.remote.key);
    const reason = 'the gateway is shutting down';
    for (const peer of state.peers.all()) {
      if (peer.phase === 'opening' && !canHear(peer)) closePeer(state, peer, 'shutdown');
      else {
        endPeer(state, peer, 'shutdown', restartMessage({ keepCredentials: true, nextRemote: false, reason }));
        peer.lingerUntil = Math.min(peer.lingerUntil, state.now + limitMs);
        state.touch(peer);
      }
    }
  }

  #onDeadlines(): void {
    const state = this.#state;
    for (let due = state.deadlines.takeDue(state.now); due !== undefined; due = state.deadlines.takeDue(state.now)) {
      if (due instanceof WaitingRoom) continue;
      if ('kind' in due) {
        state.event({ kind: 'handshakeFailed', remote: remoteText(due.remote), reason: 'hand-window-over' });
        this.#closeTcpOpening(due.remote.key);
      } else {
        state.touch(due);
        this.#onPeerDeadline(due);
      }
    }
  }

  #onPeerDeadline(peer: Peer): void {
    const state = this.#state;
    if (state.now >= peer.lingerUntil) {
      closePeer(state, peer, 'lingered');
      return;
    }
    peer.session.onDeadline(state.now);
    onLoginDeadline(state, peer);
    if (peer.phase !== 'connected') return;
    onRetiringDeadline(state, peer);
    if (state.now >= peer.renewAt) startRenewal(state, peer);
    if (state.now >= peer.sessionEndsAt) this.#endSession(peer);
    else if (state.now >= peer.restartAt) restartPeer(state, peer, peer.restartReason);
  }

  #endSession(peer: Peer): void {
    const state = this.#state;
    const reason = 'maximum-session-duration';
    if (state.served.snapshot.session.disconnectOnTimeout)
      endPeer(state, peer, reason, haltMessage(FAREWELL_TEXTS[reason]));
    else restartPeer(state, peer, reason);
  }
}

/** Whether the client has TLS and our half of the key exchange: it understands control messages, or soon will. */
function canHear({ session }: Peer): boolean {
  return session.current.phase === 'answered' || session.current.phase === 'active';
}

export interface EngineStats {
  readonly connected: number;
  readonly opening: number;
  /** Clients that have proven their address and wait for others to finish. */
  readonly waiting: number;
  readonly addressesUsed: number;
  readonly addressesTotal: number;
  readonly endedRemembered: number;
  readonly failedRemembered: number;
  /** Plaintext of unfinished key-method messages. */
  readonly handshakeBytes: number;
  /** Dropped control packets and messages, by reason. */
  readonly drops: ReadonlyMap<EngineDrop, number>;
}

/** A start each, at the rate that holds while many are under way. */
const LET_IN_MS = 5;
/** Of the sessions there were when memory became short. */
const SHARE_WHEN_SHORT = 0.9;
const HARMLESS_DROPS: ReadonlySet<EngineDrop> = new Set([
  'control-replayed',
  'beyond-window',
  'control-unknown-key',
  'renewal-not-allowed',
]);
