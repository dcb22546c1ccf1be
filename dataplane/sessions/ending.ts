import type { KeyState } from '../protocol/key-state.ts';
import { connectionFrom, type HistoryPlace } from './connection-history.ts';
import type { EngineState } from './engine-state.ts';
import { factsOf, identityKeyOf, type Peer } from './peer.ts';
import type { DenialReason, EndReason } from './reasons.ts';

/**
 * Ends a peer: its data stops at once, it hears `farewell`, and it stays only to have its packets acknowledged. The
 * linger time is set once: no repeated trigger prolongs it.
 */
export function endPeer(state: EngineState, peer: Peer, reason: EndReason, farewell: string | null): void {
  if (peer.phase === 'lingering' || peer.phase === 'closed') return;
  cancelLogin(state, peer);
  releaseTunnel(state, peer, reason);
  peer.phase = 'lingering';
  peer.lingerUntil = state.now + state.options.timers.lingerMs;
  peer.renewAt = Infinity;
  peer.sessionEndsAt = Infinity;
  peer.restartAt = Infinity;
  peer.authToken = null;
  state.peers.failOpening(peer);
  state.tcp.finish(peer.remote.key);
  state.touch(peer);
  if (farewell !== null) peer.session.sayFarewell(farewell);
}

/** Forgets a peer; one that was not told to go is gone without a word. */
export function closePeer(state: EngineState, peer: Peer, reason: EndReason): void {
  if (peer.phase === 'closed') return;
  cancelLogin(state, peer);
  releaseTunnel(state, peer, reason);
  peer.phase = 'closed';
  peer.session.destroy();
  state.peers.remove(peer);
  state.deadlines.delete(peer);
  state.tcp.finish(peer.remote.key);
  if (peer.remote.kind === 'tcp') state.emit({ kind: 'closeTransport', remote: peer.remote });
}

/** A login that came to nothing: listed, unless it never got as far as a name. */
export function recordFailure(state: EngineState, peer: Peer, reason: DenialReason, isTemporary: boolean): void {
  const connection = factsOf(peer);
  state.event({ kind: 'connectionAttemptFailed', connection, reason, isTemporary });
  state.history.addFailed(
    connectionFrom(
      placeOf(state),
      connection,
      { status: 'failed', establishedMs: null, endedMs: state.options.wallClock(), endReason: reason },
      undefined,
    ),
    state.now,
  );
}

export function placeOf(state: EngineState): HistoryPlace {
  return { endpoint: state.served.snapshot.endpoint.name, targetNetwork: state.served.config.targetNetwork };
}

export function releaseKeyMethodBytes(state: EngineState, key: KeyState): void {
  state.handshakeBytes -= key.keyMethodBytes;
  key.keyMethodBytes = 0;
}

export function cancelLogin(state: EngineState, peer: Peer): void {
  const { login } = peer;
  peer.login = undefined;
  if (login === undefined || login.granted !== undefined) return;
  if (state.peers.takeRequest(login.requestId) === undefined) return;
  state.emit({ kind: 'cancelAuthentication', requestId: login.requestId });
}

/** Gives back what a connected peer holds. The address is free at once: its data path is gone before the next lease. */
function releaseTunnel(state: EngineState, peer: Peer, reason: EndReason): void {
  const { tunnel } = peer;
  if (tunnel === undefined) return;
  const connection = factsOf(peer);
  const traffic = state.options.traffic(tunnel.peerId);
  const endedMs = state.options.wallClock();
  const { establishedMs } = tunnel;
  state.history.addEnded(
    connectionFrom(
      placeOf(state),
      connection,
      { status: 'terminated', establishedMs, endedMs, endReason: reason },
      traffic,
    ),
    state.now,
  );
  state.command({ verb: 'deletePeer', peerId: tunnel.peerId });
  state.pool.free(tunnel.tunnelAddress, state.now);
  state.peerIds.free(tunnel.peerId, state.now);
  state.peers.markDisconnected(peer, tunnel.peerId, identityKeyOf(tunnel.identity));
  peer.tunnel = undefined;
  state.event({ kind: 'disconnected', connection, reason, establishedMs, endedMs, traffic: traffic ?? null });
}
