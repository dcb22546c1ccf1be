import type { SocketAddressBytes } from '../data-channel.ts';
import { closePeer } from './ending.ts';
import type { EngineState } from './engine-state.ts';
import { identityKeyOf, remoteText, type Peer } from './peer.ts';

/**
 * Follows a client to another address, which a fresh and authenticated data packet has shown. An address where somebody
 * else is connected is not taken; one where the same identity is, is taken over and the older connection closed.
 */
export function onFloated(state: EngineState, peer: Peer, wire: SocketAddressBytes): void {
  const { tunnel, remote } = peer;
  if (peer.phase !== 'connected' || tunnel === undefined || remote.kind !== 'udp') return;
  const next = state.options.remoteFrom(wire);
  if (next.kind !== 'udp' || next.key === remote.key) return;
  const last = state.peers.connectedAt(next.key);
  // Whose connection has ended holds no address: it only lingers.
  const holder = last?.phase === 'connected' ? last : undefined;
  if (holder !== undefined && !isSamePerson(holder, peer)) {
    state.countDrop('float-to-foreign-address');
    return;
  }
  if (holder !== undefined) closePeer(state, holder, 'replaced-by-same-identity');
  peer.remote = next;
  state.peers.move(peer, remote.key);
  state.command({ verb: 'setRemote', peerId: tunnel.peerId, remote: next.wire });
  state.event({
    kind: 'floated',
    connectionId: peer.connectionId,
    from: remoteText(remote),
    to: remoteText(next),
  });
}

function isSamePerson(a: Peer, b: Peer): boolean {
  if (a.tunnel === undefined || b.tunnel === undefined) return false;
  const [first, second] = [a.tunnel.identity, b.tunnel.identity];
  return (
    identityKeyOf(first) === identityKeyOf(second) &&
    first.certificateFingerprints.join() === second.certificateFingerprints.join()
  );
}
