import {
  chmodSync,
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { TerminalError } from '../net/errors.ts';

/** What one gateway keeps between runs. The folder is 0700 and every file in it 0600: it holds private keys. */
export class StateFolder {
  /** Without symbolic links: the identity of the gateway on this machine. */
  readonly path: string;

  private constructor(path: string) {
    this.path = path;
  }

  /** Opens the folder, makes it if need be. @throws TerminalError when it is not ours to use */
  static create(path: string): StateFolder {
    try {
      makeFolder(resolve(path));
    } catch (cause) {
      throw new TerminalError(`The state folder ${path} could not be made: ${messageOf(cause)}`, { cause });
    }
    const folder = StateFolder.open(path);
    const isOpenToOthers = (statSync(folder.path).mode & 0o077) !== 0;
    if (!isOpenToOthers) return folder;
    // Somebody's folder with other things in it would be closed to its users by a slip of the hand.
    const names = readdirSync(folder.path);
    if (names.length > 0 && !names.includes(LOCK_FILE))
      throw new TerminalError(`${folder.path} holds other things than a gateway's state. Choose a folder of its own`);
    chmodSync(folder.path, 0o700);
    return folder;
  }

  /** Opens a folder that exists. @throws TerminalError when it does not or is not ours to use */
  static open(path: string): StateFolder {
    let real: string;
    try {
      real = realpathSync(path);
    } catch (cause) {
      throw new TerminalError(`The state folder ${resolve(path)} is not there: ${messageOf(cause)}`, { cause });
    }
    const stats = statSync(real);
    if (!stats.isDirectory()) throw new TerminalError(`The state folder ${real} is not a folder`);
    const us = process.geteuid?.();
    if (us !== 0 && stats.uid !== us)
      throw new TerminalError(`The state folder ${real} belongs to another user (uid ${stats.uid}). Use sudo.`);
    if (us === 0 && stats.uid !== 0)
      throw new TerminalError(
        `The state folder ${real} belongs to uid ${stats.uid}, who could replace the keys in it. ` +
          `Choose another one, or: chown -R root ${real}`,
      );
    return new StateFolder(real);
  }

  /** The path of a file or folder in it. */
  pathOf(...names: readonly string[]): string {
    return join(this.path, ...names);
  }

  /** @returns undefined when there is none. */
  read(name: string): string | undefined {
    try {
      return readFileSync(this.pathOf(name), 'utf8');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    }
  }

  write(name: string, text: string): void {
    writeFileAtomic(this.pathOf(name), text);
  }

  remove(name: string): void {
    rmSync(this.pathOf(name), { force: true });
  }
}

/** Node's own `recursive` never returns where a folder that is there refuses one in it with ENOENT, as /proc does. */
function makeFolder(path: string): void {
  if (existsSync(path)) return;
  if (dirname(path) !== path) makeFolder(dirname(path));
  try {
    mkdirSync(path, { mode: 0o700 });
  } catch (error) {
    // Somebody else may have made it meanwhile.
    if (!existsSync(path)) throw error;
  }
}

/** Replaces a file, mode 0600, so that after a crash there is the old text or the new one, whole. */
export function writeFileAtomic(path: string, text: string): void {
  const folder = dirname(path);
  const temporary = join(folder, `.${basename(path)}.${process.pid}.tmp`);
  rmSync(temporary, { force: true });
  try {
    const file = openSync(temporary, 'wx', 0o600);
    try {
      const bytes = Buffer.from(text, 'utf8');
      for (let written = 0; written < bytes.length;) written += writeSync(file, bytes, written);
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
  syncFolder(folder);
}

function syncFolder(path: string): void {
  const folder = openSync(path, 'r');
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}

function messageOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}

/** Held by the running gateway; the first file that ever is in a state folder. */
export const LOCK_FILE = 'lock';
