import type { DataCipher } from '../data-channel.ts';

/** What matters to us in a client's options (OCC) string. */
export interface ClientOptions {
  readonly isTap: boolean;
  /** The client uses `fragment`. */
  readonly isFragmenting: boolean;
  /** The client has some compression framing configured. */
  readonly hasCompressionFraming: boolean;
  /** Upper case; null when absent or `[null-cipher]`. */
  readonly cipher: string | null;
}

export function parseClientOptions(text: string): ClientOptions {
  const tokens = text.split(',');
  const cipher = tokens
    .find((token) => token.startsWith('cipher '))
    ?.slice('cipher '.length)
    .toUpperCase();
  return {
    isTap: tokens.includes('dev-type tap'),
    isFragmenting: tokens.some((token) => token === 'mtu-dynamic' || token.startsWith('mtu-dynamic ')),
    hasCompressionFraming: tokens.includes('comp-lzo'),
    cipher: cipher === undefined || cipher === '' || cipher === '[NULL-CIPHER]' ? null : cipher,
  };
}

export interface ServerOptions {
  readonly transport: 'udp' | 'tcp';
  readonly cipher: DataCipher;
  readonly tlsAuth: boolean;
  readonly tunMtuBytes: number;
}

const KEY_BITS: Readonly<Record<DataCipher, number>> = {
  'AES-128-GCM': 128,
  'AES-192-GCM': 192,
  'AES-256-GCM': 256,
  'CHACHA20-POLY1305': 256,
};

/** Our options string, the mirror of a client's. Clients only log differences, but 2.5+ takes an unpushed cipher from it. */
export function serverOptionsText(options: ServerOptions): string {
  const isTcp = options.transport === 'tcp';
  return [
    'V4',
    'dev-type tun',
    `link-mtu ${options.tunMtuBytes + (isTcp ? 51 : 49)}`,
    `tun-mtu ${options.tunMtuBytes}`,
    `proto ${isTcp ? 'TCPv4_SERVER' : 'UDPv4'}`,
    `cipher ${options.cipher}`,
    'auth [null-digest]',
    `keysize ${KEY_BITS[options.cipher]}`,
    ...(options.tlsAuth ? ['tls-auth'] : []),
    'key-method 2',
    'tls-server',
  ].join(',');
}
