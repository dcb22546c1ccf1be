import { readFile, readlink } from 'node:fs/promises';

/**
 * Where and since when the kernel's network state exists: after a reboot, or in another network
 * namespace, there is nothing of an earlier run to undo.
 */
export interface HostIdentity {
  readonly bootId: string;
  readonly networkNamespace: string;
}

export async function readHostIdentity(): Promise<HostIdentity> {
  const [bootId, networkNamespace] = await Promise.all([
    readFile('/proc/sys/kernel/random/boot_id', 'utf8'),
    readlink('/proc/self/ns/net'),
  ]);
  return { bootId: bootId.trim(), networkNamespace };
}
