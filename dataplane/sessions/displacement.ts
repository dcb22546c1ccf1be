import type { Identity } from '../../api/authentication.ts';
import { closePeer } from './ending.ts';
import type { EngineState } from './engine-state.ts';
import { identityKeyOf, type Peer } from './peer.ts';

/**
 * Whether nobody more can be connected. Sessions that nobody is behind any more count until their keepalive gives them
 * up, which takes two ping-restarts.
 */
export function isFull(state: EngineState): boolean {
  const { peers, pool, served } = state;
  return peers.connectedCount >= served.snapshot.maxConnections || pool.used >= pool.capacity;
}

/**
 * Lets the newcomer take the place of the session of its own that has been silent for longest. Same user, same name and
 * same certificate, or it is somebody else's; and a session that is heard of, pings included, is never touched: so a
 * login takes nothing from anybody, and can't be used to end a session that lives.
 */
export function displaceOwnSilentSession(state: EngineState, newcomer: Identity): void {
  const silentSince = state.now - SILENT_PINGS * state.options.timers.pingMs;
  const [leaf] = newcomer.certificateFingerprints;
  let victim: Peer | undefined;
  let heardOfVictim = silentSince;
  for (const peer of state.peers.ofIdentity(identityKeyOf(newcomer))) {
    if (peer.tunnel?.identity.certificateFingerprints[0] !== leaf) continue;
    const { peerId, connectedAt } = peer.tunnel;
    const heard = Math.max(connectedAt, state.options.traffic(peerId)?.lastReceived ?? 0);
    if (heard < heardOfVictim) [victim, heardOfVictim] = [peer, heard];
  }
  if (victim !== undefined) closePeer(state, victim, 'gave-way-to-newer-login');
}

/** A client pings whenever it has sent nothing for one interval: two pings in a row are missing, with time to spare. */
const SILENT_PINGS = 2.5;
