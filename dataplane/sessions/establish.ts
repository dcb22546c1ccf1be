import type { AuthenticationVerdict } from '../../api/authentication.ts';
import type { PeerRecord } from '../data-channel.ts';
import type { Negotiated } from '../protocol/negotiation.ts';
import { encodeBase64 } from '../protocol/base64.ts';
import { utf8Bytes } from '../protocol/bytes.ts';
import { takeDataKeys } from './data-key-installation.ts';
import type { Denial } from './denial.ts';
import { displaceOwnSilentSession, isFull } from './displacement.ts';
import { closePeer } from './ending.ts';
import type { Remote } from './engine-io.ts';
import { sessionLimitMs } from './engine-options.ts';
import type { EngineState } from './engine-state.ts';
import { factsOf, identityKeyOf, type Login, type Peer } from './peer.ts';
import { answerPushRequest } from './pushing.ts';
import type { DenialReason } from './reasons.ts';
import type { Withdrawal } from './withdrawals.ts';

export type EstablishOutcome =
  | { readonly kind: 'connected' }
  | { readonly kind: 'refused'; readonly denial: Denial }
  /** The identity was withdrawn while its login was under way. */
  | { readonly kind: 'withdrawn'; readonly reason: Withdrawal };

type Granted = Extract<AuthenticationVerdict, { kind: 'granted' }>;

/** The one place where a login becomes a connection: address, peer id, data path, then the client's configuration. */
export function establish(state: EngineState, peer: Peer, login: Login, granted: Granted): EstablishOutcome {
  const { session, negotiated, remote } = peer;
  if (negotiated === undefined) return refused('nothing-negotiated', 'nothing was negotiated');
  const { snapshot, withdrawals } = state.served;
  const identity = withdrawals.current(granted.identity);
  const withdrawn = withdrawals.reasonFor(identity);
  if (withdrawn !== undefined) return { kind: 'withdrawn', reason: withdrawn };

  const replaced = state.peers.connectedAt(remote.key);
  if (replaced !== undefined) closePeer(state, replaced, 'client-started-anew');
  const identityKey = identityKeyOf(identity);
  if (isFull(state)) displaceOwnSilentSession(state, identity);
  if (state.peers.connectedCount >= snapshot.maxConnections)
    return refused('no-connection-left', 'the endpoint has no connection left');
  const tunnelAddress = state.pool.lease(identityKey);
  if (tunnelAddress === undefined) return refused('no-address-left', 'the endpoint has no address left');
  const peerId = state.peerIds.take(remote.kind === 'tcp' ? remote.connection : null, state.now);
  const keys = takeDataKeys(session, login.key, negotiated);
  if (peerId === undefined || keys === undefined) {
    state.pool.free(tunnelAddress, state.now);
    if (peerId !== undefined) state.peerIds.free(peerId, state.now);
    return refused('set-up-failed', 'the connection could not be set up');
  }

  const generation = state.nextGeneration();
  peer.tunnel = {
    peerId,
    generation,
    tunnelAddress,
    connectedAt: state.now,
    establishedMs: state.options.wallClock(),
    identity,
    keyId: keys.keyId,
    retiringKeyId: null,
    retiringUntil: Infinity,
    isSwitching: false,
    unconfirmedKeyId: null,
    told: state.served.pushed,
  };
  peer.phase = 'connected';
  peer.presented = null;
  peer.authToken = granted.authToken;
  peer.authTokenUser = login.sentUsername ? null : encodeBase64(utf8Bytes(identity.username));
  peer.sessionEndsAt = state.now + sessionLimitMs(state.options.timers, snapshot.session.timeoutHours);
  // The AWS client forgets what was typed and has no assertion to send again.
  peer.canRenewUnasked = granted.authToken !== null || !login.sentUsername || login.key.client?.framing !== 'aws';
  peer.renewAt = nextRenewalAt(state, peer);
  state.peers.markConnected(peer, peerId, identityKey);
  state.tcp.finish(remote.key);
  state.admission.onConnected(remote, state.now);
  const groups = state.interner.idsOf(identity.groups);
  state.command({
    verb: 'newPeer',
    peer: { peerId, generation, tunnelAddress, groups, ...wireOf(state, remote, negotiated) },
  });
  state.command({ verb: 'newKey', peerId, slot: 'primary', key: keys });
  session.establish(negotiated.dynamicTlsCrypt ? 'dynamic-tls-crypt' : 'base', state.newWrapPacketIds());
  state.event({ kind: 'connected', connection: factsOf(peer) });
  if (negotiated.unsolicitedPush || peer.pushRequested) answerPushRequest(state, peer);
  return { kind: 'connected' };
}

function refused(reason: DenialReason, message: string): EstablishOutcome {
  return { kind: 'refused', denial: { reason, message, isTemporary: true } };
}

/** Up to a tenth early, so that clients which came together do not renew together. */
export function nextRenewalAt(state: EngineState, peer: Peer): number {
  return isRenewedByTime(state, peer)
    ? state.now + state.options.timers.renegotiateMs * (1 - state.fraction() / 10)
    : Infinity;
}

export function isRenewedByTime(state: EngineState, peer: Peer): boolean {
  return state.options.timers.renegotiateMs > 0 && peer.canRenewUnasked;
}

function wireOf(
  state: EngineState,
  remote: Remote,
  negotiated: Negotiated,
): Omit<PeerRecord, 'peerId' | 'generation' | 'tunnelAddress' | 'groups'> {
  const { pingMs, pingRestartMs } = state.options.timers;
  const { format, framing, tunMtuBytes } = negotiated;
  return {
    transport:
      remote.kind === 'tcp' ? { kind: 'tcp', connection: remote.connection } : { kind: 'udp', remote: remote.wire },
    format,
    framing,
    maxSegmentBytes: maxSegmentBytes(remote, negotiated),
    tunMtu: tunMtuBytes,
    pingMs,
    pingTimeoutMs: 2 * pingRestartMs,
  };
}

/** What fits 1492 bytes on the outside: 1400 for IPv4 in UDP over IPv4. */
function maxSegmentBytes(remote: Remote, negotiated: Negotiated): number {
  const isIpv6 = remote.address.includes(':') && !remote.address.includes('.');
  const ip = isIpv6 ? 40 : 20;
  const transport = remote.kind === 'tcp' ? 20 + TCP_LENGTH_BYTES : 8;
  const openvpn = negotiated.epochFormat ? 28 : 24;
  return Math.min(OUTER_BYTES - ip - transport - openvpn, negotiated.tunMtuBytes) - INNER_HEADER_BYTES;
}

const OUTER_BYTES = 1492;
const TCP_LENGTH_BYTES = 2;
const INNER_HEADER_BYTES = 40;
