import type { AuthenticationVerdict, Identity } from '../../api/authentication.ts';
import { authFailedMessage, haltMessage } from '../protocol/control-message.ts';
import type { KeyState } from '../protocol/key-state.ts';
import { takeDataKeys } from './data-key-installation.ts';
import { endPeer, releaseKeyMethodBytes } from './ending.ts';
import type { EngineState } from './engine-state.ts';
import { isRenewedByTime, nextRenewalAt } from './establish.ts';
import type { Peer, Tunnel } from './peer.ts';
import { refreshToken } from './pushing.ts';
import { FAREWELL_TEXTS } from './reasons.ts';

/** Asks the client for a new key; tried again later while one is under way or has just failed. */
export function startRenewal(state: EngineState, peer: Peer): void {
  if (peer.phase !== 'connected') return;
  const key = peer.session.startRenewal(state.now);
  if (key !== undefined) {
    finishKeySwitch(state, peer);
    peer.isRenewalOurs = true;
  }
  peer.renewAt = key === undefined ? state.now + state.limits.renewalRetryMs : Infinity;
}

/** The client renews by itself: ours is not needed. */
export function onClientRenewal(peer: Peer): void {
  peer.isRenewalOurs = false;
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
  const { tunnel } = peer;
  if (tunnel?.unconfirmedKeyId === key.keyId) {
    state.command({ verb: 'deleteKey', peerId: tunnel.peerId, keyId: key.keyId });
    tunnel.unconfirmedKeyId = null;
  }
  releaseKeyMethodBytes(state, key);
  peer.session.abandon(key);
  // What a client tried by itself is no reason to ask it: there are those who would have to ask their user.
  if (peer.isRenewalOurs || isRenewedByTime(state, peer)) peer.renewAt = state.now + state.limits.renewalRetryMs;
}

/**
 * Goes on with a renewal that is granted. Its key receives from now on: the client may send with it before we know that
 * it has our answer, for its acknowledgements may be lost. It takes over once we do know (ADR 10).
 */
export function proceedWithRenewal(state: EngineState, peer: Peer, key: KeyState, granted: Granted): void {
  const { tunnel } = peer;
  if (tunnel === undefined) return;
  const identity = renewedIdentity(state, peer, tunnel.identity, granted.identity);
  if (identity === undefined) return;
  if (tunnel.unconfirmedKeyId === null && !installUnconfirmed(state, peer, tunnel, key)) {
    peer.login = undefined;
    abandonRenewal(state, peer, key);
    return;
  }
  if (key.phase !== 'active') return;
  peer.login = undefined;
  peer.session.promote(key, state.now);
  tunnel.retiringKeyId = tunnel.keyId;
  tunnel.retiringUntil = key.createdMs + state.options.timers.transitionWindowMs;
  tunnel.keyId = key.keyId;
  tunnel.unconfirmedKeyId = null;
  tunnel.isSwitching = true;
  tunnel.identity = identity;
  state.command({ verb: 'setGroups', peerId: tunnel.peerId, groups: state.interner.idsOf(identity.groups) });
  peer.renewAt = nextRenewalAt(state, peer);
  peer.authToken = granted.authToken;
  state.event({ kind: 'renewed', connectionId: peer.connectionId, keyId: key.keyId });
  refreshToken(peer);
}

/** @returns whom the renewal was granted to; undefined when that ended the session. */
function renewedIdentity(state: EngineState, peer: Peer, before: Identity, granted: Identity): Identity | undefined {
  if (!isSameIdentity(before, granted)) {
    endPeer(state, peer, 'identity-changed', authFailedMessage('the identity has changed'));
    return undefined;
  }
  const { withdrawals } = state.served;
  const identity = withdrawals.current(granted);
  const withdrawn = withdrawals.reasonFor(identity);
  if (withdrawn === undefined) return identity;
  endPeer(state, peer, withdrawn, haltMessage(FAREWELL_TEXTS[withdrawn]));
  return undefined;
}

/** The key before the current one goes: the client has let go of it. The current one goes on sending. */
function installUnconfirmed(state: EngineState, peer: Peer, tunnel: Tunnel, key: KeyState): boolean {
  const { negotiated, session } = peer;
  if (negotiated === undefined || key.phase === 'negotiating') return false;
  const keys = takeDataKeys(session, key, negotiated);
  if (keys === undefined) return false;
  const { peerId } = tunnel;
  if (tunnel.retiringKeyId !== null) state.command({ verb: 'deleteKey', peerId, keyId: tunnel.retiringKeyId });
  tunnel.retiringKeyId = null;
  tunnel.retiringUntil = Infinity;
  state.command({ verb: 'newKey', peerId, slot: 'secondary', key: keys });
  tunnel.unconfirmedKeyId = key.keyId;
  key.deadlineMs = Math.max(key.deadlineMs, state.now + UNCONFIRMED_MS);
  return true;
}

/** The tunnel thread sends with another key: the client does. What the client sends under a key proves that it has it. */
export function onKeySwitched(peer: Peer, keyId: number): void {
  const { tunnel } = peer;
  if (tunnel === undefined) return;
  if (tunnel.unconfirmedKeyId === keyId) peer.session.conclude(keyId);
  if (tunnel.keyId === keyId) tunnel.isSwitching = false;
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

/**
 * How long a key may wait for proof that its client has it: a client sends with it after 60 s at the latest, when the
 * hand window has just ended. Less than the 120 s after which the tunnel thread would send with it by itself.
 */
const UNCONFIRMED_MS = 90_000;

type Granted = Extract<AuthenticationVerdict, { kind: 'granted' }>;

/** A renewal proves the same person with the same certificates; groups may have changed. */
function isSameIdentity(before: Identity, after: Identity): boolean {
  return (
    before.username === after.username &&
    before.commonName === after.commonName &&
    before.certificateFingerprints.join() === after.certificateFingerprints.join()
  );
}
