import type { DataKeyMaterial } from '../data-channel.ts';
import { dataKeysFromBlock, keyBlockFromPrf } from '../protocol/data-keys.ts';
import type { KeyState } from '../protocol/key-state.ts';
import type { Negotiated } from '../protocol/negotiation.ts';
import type { Session } from '../protocol/session.ts';

/**
 * Derives the data keys of an authenticated key that has been answered and wipes what they came from.
 * @returns undefined when there is nothing sound to derive them from.
 */
export function takeDataKeys(session: Session, key: KeyState, negotiated: Negotiated): DataKeyMaterial | undefined {
  const block = keyBlockOf(session, key, negotiated);
  if (block === undefined) return undefined;
  const { cipher, epochFormat } = negotiated;
  const material = dataKeysFromBlock(block, { keyId: key.keyId, cipher, epochFormat });
  block.fill(0);
  key.wipe();
  return material;
}

function keyBlockOf(session: Session, key: KeyState, negotiated: Negotiated): Uint8Array | undefined {
  const { client, server, facts } = key;
  if (negotiated.keyDerivation === 'exporter') return facts?.dataKeys;
  if (client === undefined || server === undefined) return undefined;
  return keyBlockFromPrf({
    client: client.source,
    server,
    clientSessionId: session.peerSessionId,
    serverSessionId: session.ourSessionId,
  });
}
