import { Session, type SessionPort } from '../protocol/session.ts';
import type { SessionStart } from './admission.ts';
import { cancelLogin, closePeer, endPeer, releaseKeyMethodBytes } from './ending.ts';
import type { Remote } from './engine-io.ts';
import type { EngineState } from './engine-state.ts';
import { answerKeyMethod, onKeyMethod, proceed } from './login.ts';
import { onAnswer } from './login-dialogue.ts';
import { Peer, remoteText } from './peer.ts';
import { answerPushRequest } from './pushing.ts';
import { TokenBucket } from './rate-limit.ts';
import { abandonRenewal, finishKeySwitch, onClientRenewal } from './renewal.ts';
import type { KeyState } from '../protocol/key-state.ts';
import type { ClientMessage } from '../protocol/control-message.ts';
import type { HandshakeFailure } from '../protocol/reasons.ts';

/** Makes a peer of a client that has proven its address. It replaces another that was still opening there. */
export function startPeer(state: EngineState, remote: Remote, start: SessionStart): Peer {
  const previous = state.peers.openingAt(remote.key);
  if (previous !== undefined) closePeer(state, previous, 'client-started-anew');
  const { limits, options } = state;
  const peer = new Peer({
    connectionId: state.newConnectionId(),
    remote,
    now: state.now,
    messageLimit: new TokenBucket(limits.messagesPerSecond, limits.messagesBurst),
    packetLimit: new TokenBucket(limits.controlPacketsPerSecond, limits.controlPacketsBurst),
  });
  peer.attach(
    new Session({
      ...start,
      port: portOf(state, peer),
      transport: remote.kind,
      timers: {
        handWindowMs: options.timers.handWindowMs,
        retransmitMs: options.timers.retransmitMs,
        clientRenewalPauseMs: options.timers.clientRenewalPauseMs,
        retiringControlMs: RETIRING_CONTROL_MS,
      },
      nowMs: state.now,
    }),
  );
  state.peers.addOpening(peer);
  state.touch(peer);
  return peer;
}

/** What one session does and learns, in terms of the engine. */
function portOf(state: EngineState, peer: Peer): SessionPort {
  return {
    transmit: (bytes) => state.emit({ kind: 'transmit', remote: peer.remote, bytes }),
    tlsStart() {
      const tls = state.nextTls();
      state.peers.setTls(tls, peer);
      state.emit({ kind: 'tlsStart', tls });
      return tls;
    },
    tlsInput: (tls, bytes) => state.emit({ kind: 'tlsInput', tls, bytes }),
    tlsWrite: (tls, bytes) => state.emit({ kind: 'tlsWrite', tls, bytes }),
    tlsClose(key) {
      releaseKeyMethodBytes(state, key);
      peer.certificates.delete(key.tls);
      state.peers.dropTls(key.tls);
      state.emit({ kind: 'tlsClose', tls: key.tls });
    },
    // A TCP client is not read faster, and nobody says a lost frame again.
    mayHear: () => peer.remote.kind === 'tcp' || peer.packetLimit.take(state.now),
    mayCollect(key, bytes) {
      const isOrdinary = key.keyMethodBytes + bytes <= ORDINARY_KEY_METHOD_BYTES;
      if (!isOrdinary && state.handshakeBytes + bytes > state.limits.handshakeBytes) return false;
      state.handshakeBytes += bytes;
      return true;
    },
    onSoftReset: () => finishKeySwitch(state, peer),
    onClientRenewal: () => onClientRenewal(peer),
    onKeyMethod(key, message) {
      if (peer.phase === 'opening' || peer.phase === 'connected') onKeyMethod(state, peer, key, message);
      // A client that renews hears our last words under the new key alone.
      else if (peer.phase === 'lingering') answerKeyMethod(state, peer, key, message);
    },
    onActive: () => proceed(state, peer),
    onMessage: (_key, message) => onMessage(state, peer, message),
    onKeyFailed: (key, reason) => onKeyFailed(state, peer, key, reason),
  };
}

function onMessage(state: EngineState, peer: Peer, message: ClientMessage): void {
  if (peer.phase !== 'opening' && peer.phase !== 'connected') return;
  if (!peer.messageLimit.take(state.now)) {
    state.countDrop('control-message-limit');
    return;
  }
  switch (message.kind) {
    case 'pushRequest':
      peer.pushRequested = true;
      answerPushRequest(state, peer);
      return;
    case 'exit':
      endPeer(state, peer, 'client-exit', null);
      return;
    case 'challengeResponse':
      onAnswer(state, peer, message.response);
      return;
    case 'ignored':
      state.countDrop(`control-message-${message.reason}`);
  }
}

function onKeyFailed(state: EngineState, peer: Peer, key: KeyState, reason: HandshakeFailure): void {
  const remote = remoteText(peer.remote);
  switch (peer.phase) {
    case 'closed':
      return;
    case 'lingering':
      closePeer(state, peer, reason);
      return;
    case 'opening':
      state.event({ kind: 'handshakeFailed', remote, reason });
      // The TLS alert, if there is one, still has to reach the client.
      if (reason === 'hand-window-over' || key.send.isEmpty) closePeer(state, peer, reason);
      else endPeer(state, peer, reason, null);
      return;
    case 'connected':
      if (key === peer.session.current) {
        endPeer(state, peer, 'control-channel-lost', null);
        return;
      }
      state.event({ kind: 'handshakeFailed', remote, reason: `renewal-${reason}` });
      if (peer.login?.key === key) cancelLogin(state, peer);
      abandonRenewal(state, peer, key);
  }
}

/**
 * What clients say but for SAML assertions. It always has room, bounded by the handshakes there may be: else a few hundred
 * strangers who leave long messages unfinished would keep everybody out.
 */
const ORDINARY_KEY_METHOD_BYTES = 4_096;
/** OpenVPN 3 goes on under the old key for up to 60 s after a renewal, with its EXIT too. */
const RETIRING_CONTROL_MS = 120_000;
