import type { DataCipher } from '../data-channel.ts';
import type { ClientOptions } from './occ-options.ts';
import type { PeerInfo } from './peer-info.ts';

/** Bits of IV_PROTO. */
export const ProtocolBit = {
  DataV2: 1 << 1,
  UnsolicitedPush: 1 << 2,
  Exporter: 1 << 3,
  PendingKeywords: 1 << 4,
  NoPull: 1 << 5,
  ProtocolFlags: 1 << 7,
  TemporaryFailure: 1 << 8,
  DynamicTlsCrypt: 1 << 9,
  EpochData: 1 << 10,
  PushUpdate: 1 << 12,
} as const;

export interface NegotiationPolicy {
  /** In order of preference. */
  readonly ciphers: readonly DataCipher[];
  /** For clients that name no cipher at all; not pushed. Null: they are refused. */
  readonly fallbackCipher: DataCipher | null;
  readonly tunMtuBytes: number;
  /** False: never offer epoch keys. */
  readonly allowEpoch: boolean;
}

/** Everything about a session that follows from what its client can do. */
export interface Negotiated {
  readonly cipher: DataCipher;
  readonly pushCipher: boolean;
  /** V2 needs a peer id, which is pushed. */
  readonly format: 'V1' | 'V2';
  readonly keyDerivation: 'prf' | 'exporter';
  readonly epochFormat: boolean;
  readonly dynamicTlsCrypt: boolean;
  /** The client sends EXIT as a control message. */
  readonly exitByControl: boolean;
  readonly framing: 'none' | 'stub-v2' | 'comp-lzo';
  /** Largest inner packet. */
  readonly tunMtuBytes: number;
  readonly pushTunMtu: boolean;
  /** PUSH_REPLY may leave before it is asked for. */
  readonly unsolicitedPush: boolean;
  /** AUTH_PENDING may carry a timeout. */
  readonly pendingKeywords: boolean;
  readonly temporaryFailure: boolean;
  readonly pushUpdate: boolean;
  /** The client has no `pull` and will ignore what is pushed: worth a log line. */
  readonly ignoresPush: boolean;
}

/** `message` follows `AUTH_FAILED,`. */
export type NegotiationResult =
  | { readonly ok: true; readonly negotiated: Negotiated }
  | { readonly ok: false; readonly reason: NegotiationRefusal; readonly message: string };

/** Why nothing can be agreed on with a client; metric labels. */
export const NEGOTIATION_REFUSALS = ['compression', 'fragment', 'no-shared-cipher', 'tap-device'] as const;
export type NegotiationRefusal = (typeof NEGOTIATION_REFUSALS)[number];

export const DEFAULT_CIPHERS: readonly DataCipher[] = ['AES-256-GCM', 'AES-128-GCM', 'CHACHA20-POLY1305'];

const MIN_TUN_MTU_BYTES = 576;
const DEFAULT_TUN_MTU_BYTES = 1500;

export function negotiate(peerInfo: PeerInfo, options: ClientOptions, policy: NegotiationPolicy): NegotiationResult {
  if (options.isTap) return refused('tap-device', 'This server supports only dev tun');
  if (options.isFragmenting) return refused('fragment', 'This server does not support the option fragment');
  const framing = chooseFraming(peerInfo, options);
  if (framing === undefined) return refused('compression', 'This server does not support compression');
  const cipher = chooseCipher(peerInfo, options, policy);
  if (cipher === undefined) {
    return refused('no-shared-cipher', 'Data channel cipher negotiation failed (no shared cipher)');
  }

  const has = (bits: number): boolean => (peerInfo.protocolBits & bits) === bits;
  const hasFlags = has(ProtocolBit.ProtocolFlags);
  const hasExporter = has(ProtocolBit.Exporter);
  return {
    ok: true,
    negotiated: {
      cipher: cipher.name,
      pushCipher: cipher.isPushed,
      format: has(ProtocolBit.DataV2) ? 'V2' : 'V1',
      keyDerivation: hasExporter ? 'exporter' : 'prf',
      epochFormat:
        policy.allowEpoch &&
        has(ProtocolBit.EpochData | ProtocolBit.DataV2 | ProtocolBit.Exporter | ProtocolBit.ProtocolFlags),
      dynamicTlsCrypt: hasFlags && hasExporter && has(ProtocolBit.DynamicTlsCrypt),
      exitByControl: hasFlags,
      framing,
      ...chooseMtu(peerInfo, policy),
      unsolicitedPush: has(ProtocolBit.UnsolicitedPush),
      pendingKeywords: has(ProtocolBit.PendingKeywords),
      temporaryFailure: has(ProtocolBit.TemporaryFailure),
      pushUpdate: has(ProtocolBit.PushUpdate),
      ignoresPush: has(ProtocolBit.NoPull),
    },
  };
}

/** The options that tell a client what was negotiated; they belong into the last message of the push. */
export function negotiatedPushOptions(negotiated: Negotiated, peerId: number): readonly string[] {
  const options: string[] = [];
  if (negotiated.framing === 'stub-v2') options.push('compress stub-v2');
  if (negotiated.framing === 'comp-lzo') options.push('comp-lzo no');
  if (negotiated.format === 'V2') options.push(`peer-id ${peerId}`);
  if (negotiated.pushCipher) options.push(`cipher ${negotiated.cipher}`);
  if (negotiated.exitByControl) options.push(`protocol-flags ${protocolFlags(negotiated).join(' ')}`);
  else if (negotiated.keyDerivation === 'exporter') options.push('key-derivation tls-ekm');
  if (negotiated.pushTunMtu) options.push(`tun-mtu ${negotiated.tunMtuBytes}`);
  return options;
}

function protocolFlags(negotiated: Negotiated): readonly string[] {
  const flags = ['cc-exit'];
  if (negotiated.keyDerivation === 'exporter') flags.push('tls-ekm');
  if (negotiated.dynamicTlsCrypt) flags.push('dyn-tls-crypt');
  if (negotiated.epochFormat) flags.push('aead-epoch');
  return flags;
}

function chooseCipher(
  peerInfo: PeerInfo,
  options: ClientOptions,
  policy: NegotiationPolicy,
): { readonly name: DataCipher; readonly isPushed: boolean } | undefined {
  const occ = options.cipher === null ? [] : [options.cipher];
  const isNegotiable = peerInfo.ciphers !== null || peerInfo.ncpVersion >= 2;
  const theirs = peerInfo.ciphers ?? (isNegotiable ? ['AES-256-GCM', 'AES-128-GCM', ...occ] : occ);
  const shared = policy.ciphers.find((cipher) => theirs.includes(cipher));
  if (shared !== undefined) return { name: shared, isPushed: isNegotiable };
  if (theirs.length > 0 || policy.fallbackCipher === null) return undefined;
  return { name: policy.fallbackCipher, isPushed: false };
}

/** Undefined: the client insists on compression framing and knows no stub. */
function chooseFraming(peerInfo: PeerInfo, options: ClientOptions): Negotiated['framing'] | undefined {
  if (!options.hasCompressionFraming) return 'none';
  if (peerInfo.values.get('IV_COMP_STUBv2') === '1') return 'stub-v2';
  return peerInfo.values.has('IV_LZO_STUB') || peerInfo.values.has('IV_LZO') ? 'comp-lzo' : undefined;
}

function chooseMtu(
  peerInfo: PeerInfo,
  policy: NegotiationPolicy,
): { readonly tunMtuBytes: number; readonly pushTunMtu: boolean } {
  if (peerInfo.mtuBytes === null || peerInfo.mtuBytes < MIN_TUN_MTU_BYTES) {
    return { tunMtuBytes: DEFAULT_TUN_MTU_BYTES, pushTunMtu: false };
  }
  return { tunMtuBytes: Math.min(policy.tunMtuBytes, peerInfo.mtuBytes), pushTunMtu: true };
}

function refused(reason: NegotiationRefusal, message: string): NegotiationResult {
  return { ok: false, reason, message };
}
