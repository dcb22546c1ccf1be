import { createHash } from 'node:crypto';
import type { ControlWrapKind } from '../../api/endpoint-snapshot.ts';
import { TerminalError } from '../../net/errors.ts';
import { plainWrap, tlsAuthWrap, tlsCryptWrap, type ControlWrap } from '../protocol/control-wrap.ts';
import { Opcode } from '../protocol/opcode.ts';
import { parseStaticKey } from '../protocol/static-key.ts';
import {
  parseServerKeyPem,
  splitWrappedClientKey,
  unwrapClientKey,
  type ClientKeyMetadata,
  type TlsCryptV2ServerKey,
} from '../protocol/tls-crypt-v2.ts';

/** The wrap of a packet from a client that has no session yet. */
export interface OpeningWrap {
  readonly wrap: ControlWrap;
  /** What dynamic tls-crypt mixes in; null without a wrap. */
  readonly key: Uint8Array | null;
  readonly metadata: ClientKeyMetadata | null;
  /** The packet without its wrapped client key. */
  readonly packet: Uint8Array;
}

/** The wraps of one endpoint: one for all clients, or with tls-crypt-v2 one for each. */
export interface ControlWraps {
  readonly kind: ControlWrapKind;
  /** @returns undefined when the packet can't be one of ours. */
  openingWrap(bytes: Uint8Array, opcode: number): OpeningWrap | undefined;
}

/** @throws TerminalError when the key material is missing or is not what `kind` needs. */
export function controlWrapsFor(kind: ControlWrapKind, keyText: string | null): ControlWraps {
  switch (kind) {
    case 'None':
      return sharedWrap(kind, plainWrap(), null);
    case 'TlsAuth': {
      const key = requireStaticKey(keyText, 'tls-auth');
      return sharedWrap(kind, tlsAuthWrap(key, { digest: 'SHA256', direction: 'server' }), key);
    }
    case 'TlsCrypt': {
      const key = requireStaticKey(keyText, 'tls-crypt');
      return sharedWrap(kind, tlsCryptWrap(key, 'server'), key);
    }
    case 'TlsCryptV2': {
      const key = keyText === null ? undefined : parseServerKeyPem(keyText);
      if (key === undefined) throw new TerminalError('The tls-crypt-v2 server key is missing or malformed');
      return new ClientKeyWraps(key);
    }
  }
}

function sharedWrap(kind: ControlWrapKind, wrap: ControlWrap, key: Uint8Array | null): ControlWraps {
  return {
    kind,
    openingWrap(bytes, opcode) {
      if (opcode === Opcode.HardResetClientV3 || opcode === Opcode.ControlWkcV1) return undefined;
      return { wrap, key, metadata: null, packet: bytes };
    },
  };
}

/** tls-crypt-v2: each client brings its own key, wrapped for us. Unwrapped keys are kept, so a flood costs one HMAC each. */
class ClientKeyWraps implements ControlWraps {
  readonly kind = 'TlsCryptV2';
  readonly #serverKey: TlsCryptV2ServerKey;
  readonly #cache = new Map<string, Omit<OpeningWrap, 'packet'> | null>();

  constructor(serverKey: TlsCryptV2ServerKey) {
    this.#serverKey = serverKey;
  }

  openingWrap(bytes: Uint8Array, opcode: number): OpeningWrap | undefined {
    if (opcode !== Opcode.HardResetClientV3 && opcode !== Opcode.ControlWkcV1) return undefined;
    const split = splitWrappedClientKey(bytes);
    if (!split.ok) return undefined;
    const found = this.#unwrapCached(split.wrappedClientKey);
    return found === null ? undefined : { ...found, packet: split.packet };
  }

  #unwrapCached(wrapped: Uint8Array): Omit<OpeningWrap, 'packet'> | null {
    const digest = createHash('sha256').update(wrapped).digest('base64');
    const known = this.#cache.get(digest);
    if (known !== undefined) return known;
    const unwrapped = unwrapClientKey(this.#serverKey, wrapped);
    const found = unwrapped.ok
      ? { wrap: tlsCryptWrap(unwrapped.clientKey, 'server'), key: unwrapped.clientKey, metadata: unwrapped.metadata }
      : null;
    // Garbage is cheap to refuse and endless: only genuine keys are worth the room.
    if (found !== null) this.#remember(digest, found);
    return found;
  }

  #remember(digest: string, found: Omit<OpeningWrap, 'packet'>): void {
    this.#cache.set(digest, found);
    for (const oldest of this.#cache.keys()) {
      if (this.#cache.size <= CACHED_CLIENT_KEYS) return;
      this.#cache.delete(oldest);
    }
  }
}

function requireStaticKey(text: string | null, name: string): Uint8Array {
  const key = text === null ? undefined : parseStaticKey(text);
  if (key === undefined) throw new TerminalError(`The ${name} key is missing or malformed`);
  return key;
}

const CACHED_CLIENT_KEYS = 4_096;
