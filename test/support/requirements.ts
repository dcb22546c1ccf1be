import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';

/** What tests in network namespaces need and this machine lacks, for a person; empty when they can run. */
export function missingForNamespaceTests(): readonly string[] {
  const missing: string[] = [];
  if (process.getuid?.() !== 0) missing.push('root');
  for (const [command, packageName] of Object.entries(COMMANDS)) {
    if (!isOnPath(command)) missing.push(`${command} (Debian package ${packageName})`);
  }
  if (!canUse('/dev/net/tun'))
    missing.push('/dev/net/tun (load the tun module, or pass the device into the container)');
  return missing;
}

/** The `skip` option of tests in namespaces: false, or the reason. */
export function skipWithoutNamespaces(): string | false {
  const missing = missingForNamespaceTests();
  return missing.length === 0 ? false : `needs ${missing.join(', ')}`;
}

function isOnPath(command: string): boolean {
  return (process.env['PATH'] ?? '').split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, command), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

function canUse(path: string): boolean {
  try {
    accessSync(path, constants.R_OK | constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

const COMMANDS = { openvpn: 'openvpn', ip: 'iproute2', nft: 'nftables', ping: 'iputils-ping' } as const;
