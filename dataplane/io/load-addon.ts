import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { TerminalError } from '../../net/errors.ts';
import type { NativeAddon } from './native-addon.ts';

/**
 * Loads the native addon into the calling thread: `dataplane/native/build/Release/clientvpn.node` of the package this
 * file belongs to, whether it runs from source or from `dist/`. CLIENTVPN_ADDON_BUILD=Debug takes the sanitized build.
 *
 * @throws TerminalError when the addon is not built or does not load.
 */
export function loadAddon(): NativeAddon {
  const build = process.env['CLIENTVPN_ADDON_BUILD'] === 'Debug' ? 'Debug' : 'Release';
  const path = join(packageRoot(), 'dataplane', 'native', 'build', build, 'clientvpn.node');
  if (!existsSync(path)) throw new TerminalError(`The native addon ${path} is missing: run make build`);
  try {
    // The addon's own tests hold it to this type.
    return createRequire(import.meta.url)(path) as NativeAddon;
  } catch (cause) {
    throw new TerminalError(`The native addon ${path} does not load: run make build again`, { cause });
  }
}

function packageRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, 'package.json')) && dirname(folder) !== folder) folder = dirname(folder);
  return folder;
}
