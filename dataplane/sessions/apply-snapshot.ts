import type { DataPlaneConfig } from '../../api/data-plane-config.ts';
import { haltMessage } from '../protocol/control-message.ts';
import { endPeer } from './ending.ts';
import { sessionLimitMs } from './engine-options.ts';
import type { EngineState } from './engine-state.ts';
import type { Peer } from './peer.ts';
import { NetworkUpdates, restartLater, tellNetwork } from './pushing.ts';
import { FAREWELL_TEXTS } from './reasons.ts';
import type { Served } from './served.ts';
import type { Withdrawals } from './withdrawals.ts';

/**
 * Takes up a new configuration. Rules and routes hold for everybody with the next packet; beyond that a change touches
 * only those it must, unless the endpoint asks for the resets of the guide.
 *
 * @throws TerminalError when it can't be served; the last one stays in force.
 */
export function applySnapshot(state: EngineState, config: DataPlaneConfig): void {
  const { before, after } = state.serve(config);
  const { withdrawals } = after;
  const resetsAll = after.snapshot.resetPolicy === 'Guide' && isResetByGuide(before, after);
  const updates = new NetworkUpdates(after.pushed);
  let expired = 0;
  for (const peer of state.peers.connected()) {
    state.touch(peer);
    const { tunnel } = peer;
    if (tunnel === undefined) continue;
    const withdrawn = withdrawals.reasonFor(tunnel.identity);
    if (withdrawn !== undefined) {
      endPeer(state, peer, withdrawn, haltMessage(FAREWELL_TEXTS[withdrawn]));
      continue;
    }
    updateGroups(state, peer, withdrawals);
    const hours = after.snapshot.session.timeoutHours;
    if (hours !== before.snapshot.session.timeoutHours && limitSession(state, peer, hours, expired)) expired += 1;
    if (resetsAll) restartLater(state, peer, 'configuration-changed');
    else tellNetwork(state, peer, updates);
  }
}

/** Applies changed groups of users whose provider we hold. */
function updateGroups(state: EngineState, peer: Peer, withdrawals: Withdrawals): void {
  const { tunnel } = peer;
  if (tunnel === undefined) return;
  const groups = withdrawals.groupsOf(tunnel.identity);
  if (groups === undefined || groups.join('\n') === tunnel.identity.groups.join('\n')) return;
  tunnel.identity = { ...tunnel.identity, groups };
  state.command({ verb: 'setGroups', peerId: tunnel.peerId, groups: state.interner.idsOf(groups) });
}

/** Sessions already too old end one by one, about a hundred in a second. @returns whether this is one of them. */
function limitSession(state: EngineState, peer: Peer, hours: number, expiredBefore: number): boolean {
  if (peer.tunnel === undefined) return false;
  peer.sessionEndsAt = peer.tunnel.connectedAt + sessionLimitMs(state.options.timers, hours);
  if (peer.sessionEndsAt > state.now) return false;
  peer.sessionEndsAt = state.now + Math.floor((expiredBefore + state.fraction()) * PACE_MS);
  return true;
}

/** The guide's list of changes that reset every connection. */
function isResetByGuide(before: Served, after: Served): boolean {
  const facts = ({ config, snapshot, routes }: Served): unknown => [
    config.secrets.serverCertificatePem,
    config.secrets.revocation,
    snapshot.push.dnsServers,
    snapshot.push.splitTunnel,
    snapshot.push.splitTunnel ? routes : null,
    snapshot.rules,
    snapshot.port,
  ];
  return JSON.stringify(facts(before)) !== JSON.stringify(facts(after));
}

const PACE_MS = 10;
