import type { AuthenticationVerdict, Identity, PresentedCertificate } from '../../api/authentication.ts';
import { InternalError } from '../../net/errors.ts';
import { formatIpv4, type Ipv4 } from '../../net/ipv4.ts';
import type { KeyState } from '../protocol/key-state.ts';
import type { Negotiated } from '../protocol/negotiation.ts';
import type { Session } from '../protocol/session.ts';
import type { ConnectionFacts, Remote, TlsId } from './engine-io.ts';
import { commonNameOf } from './presented-name.ts';
import type { TokenBucket } from './rate-limit.ts';
import type { ClientDialect, PushedNetwork } from './push-options.ts';
import type { RestartReason } from './reasons.ts';

/**
 *   opening ──login granted, key active──► connected ──told to go──► lingering ──5 s──► closed
 *      └─────────────refused──────────────────────────────────────────►┘
 */
export type PeerPhase = 'opening' | 'connected' | 'lingering' | 'closed';

/** One login or renewal that waits for its verdict, or for its key to become active. */
export interface Login {
  readonly key: KeyState;
  readonly requestId: number;
  readonly purpose: 'login' | 'renewal';
  /** Whether the client named a user itself: a token needs a name to go with it. */
  readonly sentUsername: boolean;
  /** Whether the client expects to be sent to a page, as the AWS client does. */
  readonly isFederated: boolean;
  /** Whether the user has been asked something and has not answered. */
  isAsked: boolean;
  questions: number;
  granted: Extract<AuthenticationVerdict, { kind: 'granted' }> | undefined;
  /** When the client is told that it takes longer; Infinity once it has been. */
  announceAt: number;
  deadline: number;
}

/** What a connected client holds. */
export interface Tunnel {
  readonly peerId: number;
  /** Never reused: tells two holders of one peer id apart. */
  readonly generation: number;
  readonly tunnelAddress: Ipv4;
  readonly connectedAt: number;
  readonly establishedMs: number;
  identity: Identity;
  /** Data keys that can receive: the newest, and the one before it until `retiringUntil`. */
  keyId: number;
  retiringKeyId: number | null;
  retiringUntil: number;
  /** The newest key is installed but does not send yet. */
  isSwitching: boolean;
  /** A granted renewal's key: it receives already, and takes over once the client is known to have our answer. */
  unconfirmedKeyId: number | null;
  /** What the client was last told of the network. */
  told: PushedNetwork;
}

/** How a client presents itself; all of it is its own word. */
export interface ClientWords {
  readonly version: string;
  readonly platform: string;
  readonly ui: string;
}

/** One client from its first proven packet to the end of its linger time. Plain state; the rules are in the files beside. */
export class Peer {
  readonly connectionId: string;
  readonly messageLimit: TokenBucket;
  readonly packetLimit: TokenBucket;
  readonly startedAt: number;
  remote: Remote;
  phase: PeerPhase = 'opening';
  username = '';
  /** What the login showed; its name is read only when it is told before a login has been granted. */
  presented: PresentedCertificate | null = null;
  client: ClientWords = { version: '', platform: '', ui: '' };
  negotiated: Negotiated | undefined;
  dialect: ClientDialect = { knowsDnsOption: false, needsIpv6Routes: false };
  /** IV_SSO. */
  ssoMethods: ReadonlySet<string> = new Set();
  certificates = new Map<TlsId, PresentedCertificate | null>();
  login: Login | undefined;
  tunnel: Tunnel | undefined;
  pushRequested = false;
  pushedAt = -Infinity;
  authToken: string | null = null;
  authTokenUser: string | null = null;
  lingerUntil = Infinity;
  renewAt = Infinity;
  /** Whether it was us who began the newest renewal. */
  isRenewalOurs = false;
  /** Whether the client can answer a renewal that we start without asking its user. */
  canRenewUnasked = true;
  sessionEndsAt = Infinity;
  /** A paced restart, to learn something new. */
  restartAt = Infinity;
  restartReason: RestartReason = 'configuration-changed';
  #session: Session | undefined;

  constructor(options: {
    readonly connectionId: string;
    readonly remote: Remote;
    readonly now: number;
    readonly messageLimit: TokenBucket;
    readonly packetLimit: TokenBucket;
  }) {
    this.connectionId = options.connectionId;
    this.remote = options.remote;
    this.startedAt = options.now;
    this.messageLimit = options.messageLimit;
    this.packetLimit = options.packetLimit;
  }

  /** Session and peer know each other; the session comes second. */
  attach(session: Session): void {
    this.#session = session;
  }

  get session(): Session {
    if (this.#session === undefined) throw new InternalError('A peer was used before its session was attached');
    return this.#session;
  }

  nextDeadline(): number {
    const { login, tunnel } = this;
    return Math.min(
      this.session.nextDeadline() ?? Infinity,
      this.lingerUntil,
      this.renewAt,
      this.sessionEndsAt,
      this.restartAt,
      tunnel?.retiringUntil ?? Infinity,
      login === undefined || login.granted !== undefined ? Infinity : Math.min(login.announceAt, login.deadline),
    );
  }
}

export function factsOf(peer: Peer): ConnectionFacts {
  const { tunnel, remote } = peer;
  return {
    connectionId: peer.connectionId,
    peerId: tunnel?.peerId ?? null,
    generation: tunnel?.generation ?? null,
    username: tunnel?.identity.username ?? peer.username,
    commonName: tunnel?.identity.commonName ?? commonNameOf(peer.presented),
    groups: tunnel?.identity.groups ?? [],
    clientIp: tunnel === undefined ? null : formatIpv4(tunnel.tunnelAddress),
    remote: remoteText(remote),
    transport: remote.kind,
    cipher: peer.negotiated?.cipher ?? null,
    client: peer.client,
  };
}

/** `address:port`, IPv6 addresses in brackets. */
export function remoteText({ address, port }: Pick<Remote, 'address' | 'port'>): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}

/** The key of an identity's lease: names may hold any character. */
export function identityKeyOf(identity: Identity): string {
  return JSON.stringify([identity.username, identity.commonName]);
}
