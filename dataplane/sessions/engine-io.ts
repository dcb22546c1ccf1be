import type {
  AuthenticationRequest,
  AuthenticationVerdict,
  LoginPrompt,
  PresentedCertificate,
} from '../../api/authentication.ts';
import type { DataPlaneConfig } from '../../api/data-plane-config.ts';
import type {
  DataKeyMaterial,
  DataChannelNotification,
  PeerRecord,
  PeerTraffic,
  PolicyTables,
  SocketAddressBytes,
  TcpConnectionId,
  TcpRefusal,
} from '../data-channel.ts';
import type { HandshakeFailure } from '../protocol/reasons.ts';
import type { DenialReason, EndReason, StartRefusal } from './reasons.ts';

/** Milliseconds of a monotonic clock; supplied by the caller. */
export type Instant = number & { readonly __brand: 'Instant' };

/** Where control packets of one client come from and go to. `key` is equal for equal remotes and is the map key. */
export type Remote =
  | {
      readonly kind: 'udp';
      readonly key: string;
      readonly address: string;
      readonly port: number;
      readonly wire: SocketAddressBytes;
    }
  | {
      readonly kind: 'tcp';
      readonly key: string;
      readonly address: string;
      readonly port: number;
      readonly connection: TcpConnectionId;
    };

/** One TLS connection: one key state of one session. Never reused. */
export type TlsId = number;

export type Input =
  | { readonly kind: 'datagram'; readonly remote: Remote; readonly bytes: Uint8Array }
  | { readonly kind: 'transportOpened'; readonly remote: Remote }
  | { readonly kind: 'transportClosed'; readonly remote: Remote }
  /** TLS bytes for the client. */
  | { readonly kind: 'tlsOutput'; readonly tls: TlsId; readonly bytes: Uint8Array }
  | { readonly kind: 'tlsPlaintext'; readonly tls: TlsId; readonly bytes: Uint8Array }
  | {
      readonly kind: 'tlsReady';
      readonly tls: TlsId;
      readonly certificate: PresentedCertificate | null;
      readonly resumed: boolean;
      readonly version: string;
      readonly dataKeys: Uint8Array;
      readonly dynamicTlsCrypt: Uint8Array;
    }
  | { readonly kind: 'tlsFailed'; readonly tls: TlsId; readonly reason: HandshakeFailure }
  | { readonly kind: 'authenticated'; readonly requestId: number; readonly verdict: AuthenticationVerdict }
  /** The verdict takes longer: the client is told to wait up to `timeoutMs`, and its user what to do, if anything. */
  | {
      readonly kind: 'authenticationPending';
      readonly requestId: number;
      readonly timeoutMs: number;
      readonly prompt: LoginPrompt | null;
    }
  | { readonly kind: 'configChanged'; readonly config: DataPlaneConfig }
  | {
      readonly kind: 'dataChannel';
      readonly notification: Exclude<
        DataChannelNotification,
        { kind: 'controlPacket' | 'tcpOpened' | 'tcpClosed' | 'tcpRefused' }
      >;
    }
  /** Whether there is memory for more clients; at first there is. */
  | { readonly kind: 'memory'; readonly isShort: boolean }
  /** An administrator ends one connection. */
  | { readonly kind: 'terminate'; readonly connectionId: string }
  /** Restart every client, refuse new ones; over when all have acknowledged, after `limitMs` at the latest. */
  | { readonly kind: 'shutdown'; readonly limitMs: number }
  | { readonly kind: 'deadline' };

export type Output =
  | { readonly kind: 'transmit'; readonly remote: Remote; readonly bytes: Uint8Array }
  | { readonly kind: 'closeTransport'; readonly remote: Remote }
  | { readonly kind: 'tlsStart'; readonly tls: TlsId }
  /** TLS bytes from the client. */
  | { readonly kind: 'tlsInput'; readonly tls: TlsId; readonly bytes: Uint8Array }
  /** One plaintext message: one write, one record. */
  | { readonly kind: 'tlsWrite'; readonly tls: TlsId; readonly bytes: Uint8Array }
  | { readonly kind: 'tlsClose'; readonly tls: TlsId }
  | { readonly kind: 'authenticate'; readonly request: AuthenticationRequest }
  | { readonly kind: 'cancelAuthentication'; readonly requestId: number }
  /** What the user answered to the last text prompt of this login. */
  | { readonly kind: 'answerAuthentication'; readonly requestId: number; readonly answer: string }
  | { readonly kind: 'dataChannel'; readonly command: DataChannelCommand }
  | { readonly kind: 'event'; readonly event: EngineEvent };

export type DataChannelCommand =
  | { readonly verb: 'newPeer'; readonly peer: PeerRecord }
  | { readonly verb: 'setRemote'; readonly peerId: number; readonly remote: SocketAddressBytes }
  | { readonly verb: 'setGroups'; readonly peerId: number; readonly groups: Int32Array }
  | { readonly verb: 'deletePeer'; readonly peerId: number }
  | {
      readonly verb: 'newKey';
      readonly peerId: number;
      readonly slot: 'primary' | 'secondary';
      readonly key: DataKeyMaterial;
    }
  | { readonly verb: 'swapKeys'; readonly peerId: number }
  | { readonly verb: 'deleteKey'; readonly peerId: number; readonly keyId: number }
  | { readonly verb: 'setPolicy'; readonly policy: PolicyTables };

/** What a person, a log or a metric may want to know. No secrets. */
export type EngineEvent =
  | {
      readonly kind: 'connectionAttemptFailed';
      readonly connection: ConnectionFacts;
      readonly reason: DenialReason;
      /** Nothing was wrong with the login: there was no room for it. */
      readonly isTemporary: boolean;
    }
  /** The client was asked something, and is to come back with the answer. */
  | { readonly kind: 'connectionAttemptChallenged'; readonly connection: ConnectionFacts }
  | { readonly kind: 'connected'; readonly connection: ConnectionFacts }
  | { readonly kind: 'renewed'; readonly connectionId: string; readonly keyId: number }
  | { readonly kind: 'floated'; readonly connectionId: string; readonly from: string; readonly to: string }
  | {
      readonly kind: 'disconnected';
      readonly connection: ConnectionFacts;
      readonly reason: EndReason;
      /** Milliseconds since 1970. */
      readonly establishedMs: number;
      readonly endedMs: number;
      /** All of it, read before the peer was deleted. */
      readonly traffic: PeerTraffic | null;
    }
  /** A certificate was refused: counter and a rate-limited security line, no connection record. */
  | { readonly kind: 'certificateRefused'; readonly remote: string; readonly reason: DenialReason }
  /** `count` session starts; the remote is that of the last. */
  | {
      readonly kind: 'refused';
      readonly remote: string;
      readonly reason: StartRefusal | TcpRefusal;
      readonly count: number;
    }
  | {
      readonly kind: 'handshakeFailed';
      readonly remote: string;
      readonly reason: HandshakeFailure | `renewal-${HandshakeFailure}`;
    }
  /** After `shutdown`: every client has been told and has had its time to acknowledge. */
  | { readonly kind: 'drained' };

export interface ConnectionFacts {
  /** `cvpn-connection-` and 17 hex digits. */
  readonly connectionId: string;
  readonly peerId: number | null;
  readonly generation: number | null;
  readonly username: string;
  readonly commonName: string;
  readonly groups: readonly string[];
  readonly clientIp: string | null;
  readonly remote: string;
  readonly transport: 'udp' | 'tcp';
  readonly cipher: string | null;
  /** What the client called itself: IV_VER, IV_PLAT, IV_GUI_VER; sanitised, ≤ 64 characters each. */
  readonly client: { readonly version: string; readonly platform: string; readonly ui: string };
}
