import {
  plainWrap,
  tlsAuthWrap,
  tlsCryptWrap,
  type ControlWrap,
  type WrapDigest,
} from '../../dataplane/protocol/control-wrap.ts';
import type { TlsCryptV2ClientKey } from '../../dataplane/protocol/tls-crypt-v2.ts';

/** The control wrap of a client's profile. */
export type ClientWrap =
  | { readonly kind: 'none' }
  | { readonly kind: 'tls-auth'; readonly key: Uint8Array; readonly digest: WrapDigest; readonly bidirectional?: true }
  | { readonly kind: 'tls-crypt'; readonly key: Uint8Array }
  | { readonly kind: 'tls-crypt-v2'; readonly key: TlsCryptV2ClientKey };

/** The wrap of key id 0. */
export function baseWrapFor(wrap: ClientWrap): ControlWrap {
  switch (wrap.kind) {
    case 'none':
      return plainWrap();
    case 'tls-auth':
      return tlsAuthWrap(wrap.key, {
        digest: wrap.digest,
        direction: wrap.bidirectional === true ? 'bidirectional' : 'client',
      });
    case 'tls-crypt':
      return tlsCryptWrap(wrap.key, 'client');
    case 'tls-crypt-v2':
      return tlsCryptWrap(wrap.key.clientKey, 'client');
  }
}

/** What dynamic tls-crypt mixes in; null without a wrap. */
export function baseKeyOf(wrap: ClientWrap): Uint8Array | null {
  if (wrap.kind === 'none') return null;
  return wrap.kind === 'tls-crypt-v2' ? wrap.key.clientKey : wrap.key;
}

/** Whether the payload of HARD_RESET_SERVER_V2 asks for the wrapped client key again; unknown types are skipped. */
export function asksToResendWkc(payload: Uint8Array): boolean {
  const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
  for (let at = 0; at + 4 <= payload.length;) {
    const type = view.getUint16(at);
    const length = view.getUint16(at + 2);
    if (at + 4 + length > payload.length) return false;
    if (type === 1 && length === 2) return (view.getUint16(at + 4) & 1) === 1;
    at += 4 + length;
  }
  return false;
}
