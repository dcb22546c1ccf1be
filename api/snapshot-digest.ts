import { createHash } from 'node:crypto';
import { canonicalJson } from './canonical-json.ts';
import type { EndpointSnapshot } from './endpoint-snapshot.ts';

/** What a snapshot's digest is taken over: everything that a data plane acts on. */
export type SnapshotContent = Omit<EndpointSnapshot, 'epoch' | 'version' | 'digest' | 'compiledAt'>;

/** @returns `sha256:` and hex. */
export function snapshotDigest(content: SnapshotContent | EndpointSnapshot): string {
  const rest: Record<string, unknown> = { ...content };
  for (const key of ['epoch', 'version', 'digest', 'compiledAt']) delete rest[key];
  return `sha256:${createHash('sha256').update(canonicalJson(rest)).digest('hex')}`;
}
