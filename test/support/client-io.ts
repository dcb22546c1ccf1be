import type { DataCipher, DataKeyMaterial } from '../../dataplane/data-channel.ts';
import type { PushedSettings } from './client-push.ts';
import type { ClientWrap } from './client-wrap.ts';

/** How a client of tests behaves and what it says. */
export interface ClientConfig {
  readonly transport: 'udp' | 'tcp';
  readonly wrap: ClientWrap;
  /** IV_PROTO; 0 leaves the line out. */
  readonly protocolBits: number;
  /** Further peer-info lines, e.g. IV_CIPHERS. */
  readonly peerInfo: Readonly<Record<string, string>>;
  /** OCC string. */
  readonly options: string;
  /** Used when the server pushes none. */
  readonly cipher: DataCipher;
  readonly framing: 'stock' | 'aws';
  readonly username: string;
  readonly password: string;
  readonly random: (bytes: number) => Uint8Array;
  /** Wall clock at the start: the time in wrap packet ids. */
  readonly unixS: number;
  readonly retransmitMs: number;
  readonly handWindowMs: number;
  /** First PUSH_REQUEST after the key exchange; then every 5 s. */
  readonly pushRequestMs: number;
  /** Sending moves to a renewed key after this long, or with the first packet received on it. */
  readonly keySwitchMs: number;
}

/** What 2.6.14 on Linux says and does. `random` and `unixS` have no default. */
export const CLIENT_2_6 = {
  transport: 'udp',
  wrap: { kind: 'none' },
  protocolBits: 990,
  peerInfo: {
    IV_VER: '2.6.14',
    IV_PLAT: 'linux',
    IV_TCPNL: '1',
    IV_MTU: '1600',
    IV_NCP: '2',
    IV_CIPHERS: 'AES-256-GCM:AES-128-GCM:CHACHA20-POLY1305',
    IV_LZO_STUB: '1',
    IV_COMP_STUB: '1',
    IV_COMP_STUBv2: '1',
  },
  options: 'V4,dev-type tun,link-mtu 1541,tun-mtu 1500,proto UDPv4,auth SHA1,keysize 128,key-method 2,tls-client',
  cipher: 'AES-256-GCM',
  framing: 'stock',
  username: '',
  password: '',
  retransmitMs: 2000,
  handWindowMs: 60_000,
  pushRequestMs: 1000,
  keySwitchMs: 60_000,
} as const satisfies Omit<ClientConfig, 'random' | 'unixS'>;

export type ClientInput =
  | { readonly kind: 'connect' }
  /** A packet of the server, without TCP length prefix. */
  | { readonly kind: 'datagram'; readonly bytes: Uint8Array }
  | { readonly kind: 'tlsOutput'; readonly tls: number; readonly bytes: Uint8Array }
  | { readonly kind: 'tlsPlaintext'; readonly tls: number; readonly bytes: Uint8Array }
  /** The handshake is done. Both exports are 256 bytes: labels DATA_KEYS_LABEL and DYNAMIC_TLS_CRYPT_LABEL. */
  | {
      readonly kind: 'tlsReady';
      readonly tls: number;
      readonly dataKeys: Uint8Array;
      readonly dynamicTlsCrypt: Uint8Array;
    }
  | { readonly kind: 'tlsFailed'; readonly tls: number; readonly reason: string }
  /** An inner packet to send. */
  | { readonly kind: 'inner'; readonly bytes: Uint8Array }
  | { readonly kind: 'controlText'; readonly text: string }
  | { readonly kind: 'renew' }
  | { readonly kind: 'exit' }
  | { readonly kind: 'deadline' };

export type ClientOutput =
  | { readonly kind: 'transmit'; readonly bytes: Uint8Array }
  | { readonly kind: 'tlsStart'; readonly tls: number }
  | { readonly kind: 'tlsInput'; readonly tls: number; readonly bytes: Uint8Array }
  | { readonly kind: 'tlsWrite'; readonly tls: number; readonly bytes: Uint8Array }
  | { readonly kind: 'tlsClose'; readonly tls: number }
  /** An inner packet of the server; pings are answered to nobody and left out. */
  | { readonly kind: 'inner'; readonly bytes: Uint8Array }
  /** Each control message of the server, as text. */
  | { readonly kind: 'message'; readonly text: string }
  | { readonly kind: 'connected'; readonly settings: PushedSettings }
  /** A data key is usable. As the server sees it: the client seals with `decryptKey`. */
  | { readonly kind: 'dataKey'; readonly key: DataKeyMaterial }
  /** The machine is over; further inputs give nothing. */
  | { readonly kind: 'closed'; readonly reason: string };
