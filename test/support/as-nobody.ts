import { spawnSync, type SpawnSyncReturns } from 'node:child_process';
import { ROOT } from './source-tree.ts';

/**
 * Runs a program of the checkout as somebody who is not root, in a view of it: a checkout can lie below a home folder that
 * is closed to others.
 *
 * @param command the program and its arguments; paths in the checkout are relative to it and begin with `./`
 */
export function runAsNobody(command: readonly string[]): SpawnSyncReturns<string> {
  const inView = command.map((part) => part.replace(/^\.\//, `${VIEW}/`));
  const setpriv = 'setpriv --reuid=65534 --regid=65534 --clear-groups -- "$@"';
  const script = `mount --rbind "$1" ${VIEW} && shift && exec ${setpriv}`;
  const options = ['--mount', '--', 'sh', '-c', script, 'sh', ROOT, ...inView];
  return spawnSync('unshare', options, { encoding: 'utf8', cwd: '/' });
}

const VIEW = '/mnt';
