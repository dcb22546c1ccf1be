import type { AuthenticationVerdict, Identity } from '../../api/authentication.ts';
import { authFailedMessage, haltMessage } from '../protocol/control-message.ts';
import type { KeyState } from '../protocol/key-state.ts';
import { takeDataKeys } from './data-key-installation.ts';
import { endPeer, releaseKeyMethodBytes } from './ending.ts';
import type { EngineState } from './engine-state.ts';
import { nextRenewalAt } from './establish.ts';
import type { Peer } from './peer.ts';
import { refreshToken } from './pushing.ts';

/** Asks the client for a new key; tried again later while one is under way or has just failed. */
export function startRenewal(state: EngineState, peer: Peer): void {
  if (peer.phase !== 'connected') return;
  const key = peer.session.startRenewal(state.now);
  if (key !== undefined) finishKeySwitch(state, peer);
  peer.renewAt = key === undefined ? state.now + state.limits.renewalRetryMs : Infinity;
}

/** The client renews by itself: ours is not needed. */
export function onClientRenewal(peer: Peer): void {
  peer.renewAt = Infinity;
}

/**
 * With a new negotiation the client lets go of the key before its newest. If that one still sends, because the client has
 * said nothing under the newest yet, the newest takes over.
 */
export function finishKeySwitch(state: EngineState, { tunnel }: Peer): void {
  if (tunnel?.isSwitching !== true) return;
  state.command({ verb: 'swapKeys', peerId: tunnel.peerId });
  tunnel.isSwitching = false;
}

/** The negotiation came to nothing, the key in use stays. */
export function abandonRenewal(state: EngineState, peer: Peer, key: KeyState): void {
  releaseKeyMethodBytes(state, key);
  peer.session.abandon(key);
  peer.renewAt = state.now + state.limits.renewalRetryMs;
}

/**
 * Puts a renewed key to work beside the one before it. The tunnel thread sends with the new one as soon as the client
 * does; the old one goes on receiving for the transition window.
 */
export function completeRenewal(
  state: EngineState,
  peer: Peer,
  key: KeyState,
  granted: Extract<AuthenticationVerdict, { kind: 'granted' }>,
): void {
  const { tunnel, negotiated, session } = peer;
  if (tunnel === undefined || negotiated === undefined) return;
  if (!isSameIdentity(tunnel.identity, granted.identity)) {
    endPeer(state, peer, 'identity changed at a renewal', authFailedMessage('the identity has changed'));
    return;
  }
  const { withdrawals } = state.served;
  const identity = withdrawals.current(granted.identity);
  const withdrawn = withdrawals.reasonFor(identity);
  if (withdrawn !== undefined) {
    endPeer(state, peer, withdrawn, haltMessage(withdrawn));
    return;
  }
  const keys = takeDataKeys(session, key, negotiated);
  if (keys === undefined) {
    abandonRenewal(state, peer, key);
    return;
  }
  const { peerId } = tunnel;
  if (tunnel.retiringKeyId !== null) {
    if (tunnel.isSwitching) state.command({ verb: 'swapKeys', peerId });
    state.command({ verb: 'deleteKey', peerId, keyId: tunnel.retiringKeyId });
  }
  state.command({ verb: 'newKey', peerId, slot: 'secondary', key: keys });
  session.promote(key, state.now);
  tunnel.retiringKeyId = tunnel.keyId;
  tunnel.retiringUntil = key.createdMs + state.options.timers.transitionWindowMs;
  tunnel.keyId = key.keyId;
  tunnel.isSwitching = true;
  tunnel.identity = identity;
  state.command({ verb: 'setGroups', peerId, groups: state.interner.idsOf(identity.groups) });
  peer.renewAt = nextRenewalAt(state, peer);
  peer.authToken = granted.authToken;
  state.event({ kind: 'renewed', connectionId: peer.connectionId, keyId: key.keyId });
  refreshToken(peer);
}

/** The old key has had its time. It must not go while it is the one that sends. */
export function onRetiringDeadline(state: EngineState, peer: Peer): void {
  const { tunnel } = peer;
  if (tunnel === undefined || tunnel.retiringKeyId === null || state.now < tunnel.retiringUntil) return;
  if (tunnel.isSwitching) {
    state.command({ verb: 'swapKeys', peerId: tunnel.peerId });
    tunnel.isSwitching = false;
  }
  state.command({ verb: 'deleteKey', peerId: tunnel.peerId, keyId: tunnel.retiringKeyId });
  tunnel.retiringKeyId = null;
  tunnel.retiringUntil = Infinity;
}

/** A renewal proves the same person with the same certificates; groups may have changed. */
function isSameIdentity(before: Identity, after: Identity): boolean {
  return (
    before.username === after.username &&
    before.commonName === after.commonName &&
    before.certificateFingerprints.join() === after.certificateFingerprints.join()
  );
}
