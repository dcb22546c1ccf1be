import { revocationIndexOf } from '../../api/revocation-lookup.ts';
import { readRevocationList } from '../../operator/pki/revocation-list.ts';

/** Parses and verifies a list and makes it ready to be asked. @returns milliseconds; NaN when it is not valid. */
export function timedReading(list: Uint8Array, caPem: string): number {
  const begun = performance.now();
  const { facts, material } = readRevocationList(list, caPem, Date.now());
  if (material !== null) revocationIndexOf(material);
  return facts.state === 'Valid' ? performance.now() - begun : NaN;
}
