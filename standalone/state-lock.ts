import { spawnSync } from 'node:child_process';
import { closeSync, ftruncateSync, openSync, readFileSync, writeSync } from 'node:fs';
import { TerminalError } from '../net/errors.ts';

/**
 * Holds the state folder against a second gateway until it is released or the process ends: the kernel
 * drops the lock with the last descriptor, so a killed run leaves none behind.
 */
export class StateLock {
  readonly #file: number;

  private constructor(file: number) {
    this.#file = file;
  }

  /** @throws TerminalError naming the process that holds it */
  static acquire(path: string): StateLock {
    const file = openSync(path, 'a+', 0o600);
    // flock(1) locks the open file description, which is ours too and stays locked when the program has gone.
    const { status, error } = spawnSync('flock', ['--nonblock', '3'], { stdio: ['ignore', 'ignore', 'ignore', file] });
    if (status !== 0) {
      closeSync(file);
      if (error !== undefined)
        throw new TerminalError('flock is not to be found. Install it: apt-get install util-linux', { cause: error });
      const holder = readFileSync(path, 'utf8').trim();
      throw new TerminalError(`The state folder is in use by another gateway${holder && ` (process ${holder})`}`);
    }
    ftruncateSync(file);
    writeSync(file, `${process.pid}\n`);
    return new StateLock(file);
  }

  release(): void {
    ftruncateSync(this.#file);
    closeSync(this.#file);
  }
}
