import type { AuthenticationVerdict, PresentedCertificate } from '../../api/authentication.ts';
import { parsePasswordField } from '../protocol/challenge.ts';
import { CREDENTIALS_TOO_LONG_TEXT, type KeyMethodMessage } from '../protocol/key-method.ts';
import type { KeyState } from '../protocol/key-state.ts';
import { DEFAULT_CIPHERS, negotiate, type NegotiationPolicy } from '../protocol/negotiation.ts';
import { parseClientOptions, serverOptionsText } from '../protocol/occ-options.ts';
import { parsePeerInfo, type PeerInfo } from '../protocol/peer-info.ts';
import { challenge, deny, type Denial } from './denial.ts';
import { releaseKeyMethodBytes } from './ending.ts';
import type { EngineState } from './engine-state.ts';
import { establish } from './establish.ts';
import { promptsOf } from './login-dialogue.ts';
import type { ClientWords, Login, Peer } from './peer.ts';
import { FAREWELL_TEXTS } from './reasons.ts';
import { proceedWithRenewal } from './renewal.ts';

/** Takes a client's half of the key exchange: answers it in any case, then has the client's claim judged. */
export function onKeyMethod(state: EngineState, peer: Peer, key: KeyState, message: KeyMethodMessage): void {
  const purpose = key === peer.session.current ? 'login' : 'renewal';
  const refusal = purpose === 'login' ? readClient(peer, message) : undefined;
  answerKeyMethod(state, peer, key, message);
  // Needed once: what holds for the session's life is the identity that a login makes of it.
  const certificate = peer.certificates.get(key.tls) ?? null;
  peer.certificates.delete(key.tls);
  if (purpose === 'login') peer.presented = certificate;

  const denial = message.credentialsTooLong ? TOO_LONG : (refusal ?? (purpose === 'login' ? closed(state) : undefined));
  if (denial === undefined) ask(state, peer, { key, purpose, message, certificate });
  else deny(state, peer, purpose, { ...denial, certificateRefused: isStranger(state, certificate) });
}

/** Sends our half of the key exchange: whatever becomes of the claim, the client can hear of it then. */
export function answerKeyMethod(state: EngineState, peer: Peer, key: KeyState, message: KeyMethodMessage): void {
  releaseKeyMethodBytes(state, key);
  peer.session.answerKeyMethod(
    key,
    { random1: state.options.random(32), random2: state.options.random(32) },
    serverOptionsText({
      transport: peer.remote.kind,
      cipher: peer.negotiated?.cipher ?? DEFAULT_CIPHERS[0],
      tlsAuth: state.served.wraps.kind === 'TlsAuth',
      tunMtuBytes: TUN_MTU_BYTES,
    }),
  );
  // What stays for the key derivation must not hold the password.
  key.client = { ...message, password: '' };
}

/** Has the claim of a client judged. */
function ask(
  state: EngineState,
  peer: Peer,
  claim: Pick<Login, 'key' | 'purpose'> & {
    readonly message: KeyMethodMessage;
    readonly certificate: PresentedCertificate | null;
  },
): void {
  const { key, purpose, certificate } = claim;
  const { username, password } = claim.message;
  const requestId = state.nextRequest();
  peer.login = {
    key,
    requestId,
    purpose,
    sentUsername: username !== '',
    isFederated: parsePasswordField(password).kind === 'federatedStart',
    isAsked: false,
    questions: 0,
    granted: undefined,
    announceAt: state.now + state.limits.pendingAfterMs,
    deadline: key.createdMs + state.limits.pendingTimeoutMs,
  };
  state.peers.setRequest(requestId, peer);
  const { address: remoteAddress } = peer.remote;
  const prompts = promptsOf(peer.ssoMethods);
  state.emit({
    kind: 'authenticate',
    request: { requestId, purpose, remoteAddress, certificate, username, password, prompts },
  });
}

export function onVerdict(state: EngineState, requestId: number, verdict: AuthenticationVerdict): void {
  const peer = state.peers.takeRequest(requestId);
  const login = peer?.login;
  if (peer === undefined || login?.requestId !== requestId) return;
  if (verdict.kind === 'granted') {
    login.granted = verdict;
    proceed(state, peer);
    return;
  }
  peer.login = undefined;
  if (verdict.kind === 'denied') deny(state, peer, login.purpose, verdict);
  else challenge(state, peer, login, verdict.challenge);
}

/**
 * Goes on with a login as soon as both hold: this very key's login is granted, and its client can read. No token or push
 * may leave before (CVE-2020-15078).
 */
export function proceed(state: EngineState, peer: Peer): void {
  const { login } = peer;
  if (login?.granted === undefined) return;
  if (login.purpose === 'renewal') {
    proceedWithRenewal(state, peer, login.key, login.granted);
    return;
  }
  if (login.key.phase !== 'active') return;
  peer.login = undefined;
  const outcome = establish(state, peer, login, login.granted);
  if (outcome.kind === 'refused') deny(state, peer, 'login', outcome.denial);
  else if (outcome.kind === 'withdrawn')
    deny(state, peer, 'login', { reason: outcome.reason, message: FAREWELL_TEXTS[outcome.reason] });
}

/** Why nobody may log in now, or undefined. */
function closed(state: EngineState): Denial | undefined {
  if (state.phase !== 'serving')
    return { reason: 'shutting-down', message: 'the gateway is shutting down', isTemporary: true };
  if (!state.served.snapshot.acceptNew)
    return { reason: 'no-new-connections', message: 'the gateway takes no new connections', isTemporary: true };
  return undefined;
}

/** Whether a certificate is asked for and none that verifies was shown: whatever else is wrong, it makes no record. */
function isStranger(state: EngineState, certificate: PresentedCertificate | null): boolean {
  if (!state.served.snapshot.authentication.mutual) return false;
  return certificate === null || certificate.authorizationError !== null;
}

/** Reads what the client says of itself and settles what will be used with it. */
function readClient(peer: Peer, message: KeyMethodMessage): Denial | undefined {
  const info = parsePeerInfo(message.peerInfo);
  peer.username = message.username.slice(0, MAX_SHOWN_USERNAME);
  peer.client = wordsOf(info);
  peer.ssoMethods = new Set(info.ssoMethods);
  peer.dialect = {
    knowsDnsOption: (info.protocolBits & DNS_OPTION_BITS) !== 0,
    needsIpv6Routes: SINCE_2_7.test(peer.client.version),
  };
  const result = negotiate(info, parseClientOptions(message.options), NEGOTIATION_POLICY);
  if (!result.ok) return result;
  peer.negotiated = result.negotiated;
  return undefined;
}

function wordsOf(info: PeerInfo): ClientWords {
  const word = (key: string): string =>
    (info.values.get(key) ?? '').replaceAll(/[^\x20-\x7e]/g, '?').slice(0, MAX_SHOWN_WORD);
  return { version: word('IV_VER'), platform: word('IV_PLAT'), ui: word('IV_GUI_VER') };
}

const TUN_MTU_BYTES = 1500;
const TOO_LONG: Denial = { reason: 'credentials-too-long', message: CREDENTIALS_TOO_LONG_TEXT };
const NEGOTIATION_POLICY: NegotiationPolicy = {
  ciphers: DEFAULT_CIPHERS,
  fallbackCipher: null,
  tunMtuBytes: TUN_MTU_BYTES,
  allowEpoch: true,
};
/** IV_VER of OpenVPN 2.7 and of later ones of its series. */
const SINCE_2_7 = /^2\.(?:[7-9]|\d\d)/;
/** IV_PROTO: the `dns` option in its first or final syntax. */
const DNS_OPTION_BITS = (1 << 6) | (1 << 11);
const MAX_SHOWN_USERNAME = 256;
const MAX_SHOWN_WORD = 64;
